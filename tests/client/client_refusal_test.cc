// What a client refuses to work on or to send (the coordinator may be anybody).

#include <string>

#include "tests/client/client_world.h"

namespace edgetune {
namespace {

using testing::MakeAssignment;
using testing::SignedPlan;
using testing::TestKeys;
using ClientRefusalTest = testing::ClientWorld;

TEST_F(ClientRefusalTest, PlanSignedByAnotherKeyIsRefused) {
  const TestKeys strangers = testing::MakeTestKeys();
  Start();
  v1::Assignment assignment = MakeAssignment(run_.plan, Manifest(0), keys_);
  *assignment.mutable_plan() = SignedPlan(run_.plan, strangers);
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientRefusalTest, PlanSignedByTheRoundKeyIsRefused) {
  Start();
  v1::Assignment assignment = MakeAssignment(run_.plan, Manifest(0), keys_);
  *assignment.mutable_plan() = *SignDocument(
      DocumentUse::kPlan, run_.plan.SerializeAsString(), keys_.round);
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientRefusalTest, ManifestWithAFlippedByteIsRefused) {
  Start();
  v1::Assignment assignment = MakeAssignment(run_.plan, Manifest(0), keys_);
  assignment.mutable_manifest()->mutable_payload()->back() ^= 1;
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientRefusalTest, ExpiredManifestIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.mutable_header()->set_expires_ms(manifest.header().issued_ms() +
                                            1000);
  Assign(manifest);
  ExpectRefused("expired");
}

TEST_F(ClientRefusalTest, ManifestOfAnotherPlanIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.set_plan_digest(std::string(32, 'x'));
  Assign(manifest);
  ExpectRefused("it is for plan 78787878");
}

TEST_F(ClientRefusalTest, RoundBehindThePlansEndIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(2);
  manifest.set_round(4);
  Assign(manifest);
  ExpectRefused("training round 4");
}

TEST_F(ClientRefusalTest, ManifestWithOtherCoordinatesIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.set_coordinates(manifest.coordinates() + 1);
  Assign(manifest);
  ExpectRefused("coordinates");
}

TEST_F(ClientRefusalTest, BaseDigestThatIsNotOfItsPartsIsRefused) {
  run_.plan.mutable_model()->set_digest(std::string(32, 'd'));
  Start();
  Assign(Manifest(0));
  ExpectRefused("model.digest");
}

TEST_F(ClientRefusalTest, PlanForAnotherPopulationIsRefused) {
  file_.population = "others";
  Start();
  Assign(Manifest(0));
  ExpectRefused("population");
}

TEST_F(ClientRefusalTest, AdapterWithOtherBytesThanItsDigestIsRefused) {
  Start();
  transport_->served[run_.plan.lora().initial_digest()][0] ^= 1;
  Assign(Manifest(0));
  ExpectRefused("");
}

TEST_F(ClientRefusalTest, AdapterThatIsNotFiniteIsRefused) {
  v1::RoundManifest manifest = Manifest(1);
  std::string blob = run_.adapter_blob;
  blob.replace(0, 4, std::string("\x00\x00\xc0\x7f", 4));  // NaN
  manifest.set_adapter_digest(Sha256Bytes(blob));
  Start();
  transport_->served[manifest.adapter_digest()] = blob;
  Assign(manifest);
  ExpectRefused("not finite");
}

// As many slices as are trained, without those that are frozen.
TEST_F(ClientRefusalTest, AdapterOfAnotherRankIsRefused) {
  const std::string trained = run_.adapter_blob;
  UseFrozen(run_, "fedex", 3);
  v1::RoundManifest manifest = Manifest(1);
  manifest.set_adapter_digest(Sha256Bytes(trained));
  Start();
  transport_->served[manifest.adapter_digest()] = trained;
  Assign(manifest);
  ExpectRefused("bytes");
}

TEST_F(ClientRefusalTest, UpdateBeyondTheBoundStaysOnTheDevice) {
  run_.plan.mutable_rounds()->set_clear_bound(1e-6);
  Start();
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  EXPECT_NE(declined.detail().find("clear_bound"), std::string::npos);
  EXPECT_TRUE(transport_->uploads.empty());
}

}  // namespace
}  // namespace edgetune
