// What a coordinator demands of advertised keys (R0), with the codes of the
// design's section 6.

#include "privacy/secagg/member.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

// Keys of member 1 of five, made by the real client.
class SecAggMemberTest : public ::testing::Test {
 protected:
  SecAggMemberTest() {
    Harness session(FleetOfFive(), Five());
    manifest_ = session.manifest;
    keys_ = session.clients[kVictim]
                .party->Start(session.clients[kVictim].input)
                .front()
                .message.advertise();
  }
  v1::AbortCode Check() const {
    const auto entry = CheckAdvertisement(
        manifest_, member_, FleetOfFive().ProofOf(kVictim), keys_);
    return entry.ok() ? v1::ABORT_UNSPECIFIED : AbortCodeOf(entry.status());
  }

  Digest manifest_ = {};
  RosterMember member_ = FleetOfFive().members[kVictim];
  v1::AdvertiseKeys keys_;
};

TEST_F(SecAggMemberTest, GoodKeysBecomeAnEntryThatProvesItself) {
  const auto entry = CheckAdvertisement(manifest_, member_,
                                        FleetOfFive().ProofOf(kVictim), keys_);
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_TRUE(CheckEntrySizes(*entry).ok());
  EXPECT_TRUE(IsInRoster(*entry, FleetOfFive().root()));
  EXPECT_TRUE(HasSignedKeys(*entry, manifest_));
}

TEST_F(SecAggMemberTest, ARevokedMembersKeysAreRefused) {
  member_.active = false;
  EXPECT_EQ(Check(), v1::BAD_ROSTER);
}

TEST_F(SecAggMemberTest, AMemberWithoutAnIdentityKeyIsRefused) {
  member_.identity_key.pop_back();
  EXPECT_EQ(Check(), v1::BAD_ROSTER);
}

TEST_F(SecAggMemberTest, KeysOfAnotherLengthAreRefused) {
  for (std::string* field :
       {keys_.mutable_manifest(), keys_.mutable_c_pk(), keys_.mutable_s_pk(),
        keys_.mutable_nonce(), keys_.mutable_signature()}) {
    const std::string whole = *field;
    field->pop_back();
    EXPECT_EQ(Check(), v1::LENGTH);
    *field = whole + "x";
    EXPECT_EQ(Check(), v1::LENGTH);
    *field = whole;
  }
  EXPECT_EQ(Check(), v1::ABORT_UNSPECIFIED);
}

TEST_F(SecAggMemberTest, KeysForAnotherManifestAreRefused) {
  Flip(*keys_.mutable_manifest());
  EXPECT_EQ(Check(), v1::REPLAY);
}

TEST_F(SecAggMemberTest, KeysThatAnotherSignedAreRefused) {
  keys_.set_signature(FleetOfFive()
                          .identities[2]
                          .Sign(AdvertiseBytes(manifest_, member_.id, keys_))
                          .value());
  EXPECT_EQ(Check(), v1::BAD_SIGNATURE);
}

TEST_F(SecAggMemberTest, EveryFieldIsSigned) {
  for (std::string* field :
       {keys_.mutable_c_pk(), keys_.mutable_s_pk(), keys_.mutable_nonce()}) {
    const std::string whole = *field;
    Flip(*field);
    EXPECT_EQ(Check(), v1::BAD_SIGNATURE);
    *field = whole;
  }
  member_.id[0] ^= 1;
  EXPECT_EQ(Check(), v1::BAD_SIGNATURE);
}

TEST(SecAggAbortTest, ACodeIsAddedToAStatusThatKeepsItsOwn) {
  const absl::Status status = WithAbortCode(
      v1::REPLAY, Annotate(absl::FailedPreconditionError("an old round"),
                           ErrorKind::kIdentity, "a hint"));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(AbortCodeOf(status), v1::REPLAY);
  EXPECT_EQ(status.message(), "REPLAY: an old round");
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
  EXPECT_EQ(HintOf(status), "a hint");
  EXPECT_TRUE(WithAbortCode(v1::REPLAY, absl::OkStatus()).ok());
}

}  // namespace
}  // namespace edgetune::secagg
