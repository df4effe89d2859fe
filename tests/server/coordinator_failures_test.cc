// Reports that are refused, clients that are lost, runs that end early.

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/status.h"
#include "protos/plan_check.h"
#include "tests/server/test_server.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::kInf;
using testing::kNaN;
using ::testing::StartsWith;

// A run of one round, in which all four devices are asked and one is silent
// (counted from 0; the others have reported or will).
struct SilentRound {
  explicit SilentRound(int number, const std::string& weights = "examples")
      : silent(*fleet[number]) {
    silent.works = false;
    v1::TaskPlan plan = server.MakePlan();
    plan.mutable_rounds()->set_weights(weights);
    plan.mutable_rounds()->set_count(1);
    run = server.Submit(plan);
    EDGETUNE_CHECK(
        RunUntil(server, fleet, [&] { return silent.manifest() != nullptr; }));
  }
  bool RunToEnd() { return edgetune::RunToEnd(server, fleet, run); }

  TestServer server;
  std::vector<std::unique_ptr<FakeDevice>> fleet = MakeFleet(&server);
  FakeDevice& silent;
  std::string run;
};

// One round; d4 sends what `spoil` made of a good report and is refused, the
// other three commit the round.
void ExpectRefusedAndRoundKept(
    const std::function<void(FakeDevice&, v1::Report&)>& spoil,
    const std::string& reason, const std::string& weights = "examples") {
  SilentRound round(3, weights);
  FakeDevice& bad = round.silent;
  v1::Report report = bad.MakeReport();
  spoil(bad, report);
  bad.SendReport(report);
  bad.works = true;
  ASSERT_TRUE(round.RunToEnd());
  ASSERT_FALSE(bad.outcomes.empty());
  EXPECT_EQ(bad.outcomes[0].result(), v1::Outcome::REFUSED);
  EXPECT_THAT(bad.outcomes[0].detail(), HasSubstr(reason));
  EXPECT_TRUE(round.server.HasEvent(round.run, "d4 refused"));
  const v1::RunStatus status = round.server.Show(round.run);
  EXPECT_EQ(status.state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(ParseCard(status.cards(1).payload())->updates(), 3u);
}

TEST(CoordinatorFailuresTest, ImpossibleWeightsAreRefusedAndTheRoundKept) {
  // Also where they do not count.
  for (const char* weights : {"examples", "equal"}) {
    for (double weight : {0.0, -1.0, kNaN<double>, kInf<double>, 16385.0}) {
      ExpectRefusedAndRoundKept(
          [&](FakeDevice&, v1::Report& report) { report.set_weight(weight); },
          "weight is", weights);
    }
  }
}

TEST(CoordinatorFailuresTest, ImpossibleEvaluationsAreRefused) {
  for (double nll : {kNaN<double>, kInf<double>, -1.0}) {
    ExpectRefusedAndRoundKept(
        [&](FakeDevice&, v1::Report& report) { report.set_nll_sum(nll); },
        "nll_sum is");
  }
  ExpectRefusedAndRoundKept(
      [](FakeDevice&, v1::Report& report) { report.set_tokens(32 * 512 + 1); },
      "tokens");
}

TEST(CoordinatorFailuresTest, UpdatesThatAreNotNumbersOrTooLargeAreRefused) {
  for (float value :
       {std::nanf(""), std::numeric_limits<float>::infinity(), 64.5f, -64.5f}) {
    ExpectRefusedAndRoundKept(
        [&](FakeDevice& device, v1::Report& report) {
          ParameterVector update = device.Update(0);
          update[7] = value;
          const std::string bytes = SerializeParameters(update);
          ASSERT_TRUE(device.Upload(bytes, Sha256(bytes)).ok());
          report.set_update_digest(Sha256Bytes(bytes));
        },
        "");
  }
}

TEST(CoordinatorFailuresTest, DigestsWithoutAnUploadAreRefused) {
  ExpectRefusedAndRoundKept(
      [](FakeDevice&, v1::Report& report) {
        report.set_update_digest(std::string(32, 'x'));
      },
      "no blob");
  ExpectRefusedAndRoundKept(
      [](FakeDevice&, v1::Report& report) {
        report.set_update_digest(std::string(31, 'x'));
      },
      "wanted 32");
}

TEST(CoordinatorFailuresTest, ABlobOfAnotherLengthIsNoUpdate) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  for (auto& device : fleet) device->works = false;
  server.Submit(server.MakePlan());
  ASSERT_TRUE(RunUntil(server, fleet, [&] { return fleet[0]->manifest(); }));
  const std::string bytes(kTestCoordinates * 4 + 4, '\0');
  EXPECT_TRUE(absl::IsInvalidArgument(fleet[0]->Upload(bytes, Sha256(bytes))));
  const std::string right(kTestCoordinates * 4, '\0');
  EXPECT_TRUE(absl::IsDataLoss(fleet[0]->Upload(right, Sha256("other"))));
}

TEST(CoordinatorFailuresTest, ABaseNamedAsUpdateIsRefused) {
  ExpectRefusedAndRoundKept(
      [](FakeDevice&, v1::Report& report) {
        report.set_update_digest(Sha256Bytes(std::string(1000, 'b')));
      },
      "");
}

TEST(CoordinatorFailuresTest, ARefusedReportCannotHaveAnothersBlobCleanedUp) {
  SilentRound round(3);
  // What an operator has put and not submitted yet.
  const Digest foreign = round.server.PutBlob("a base of 20 bytes..");
  v1::Report report = round.silent.MakeReport();
  report.set_update_digest(DigestBytes(foreign));
  round.silent.SendReport(report);
  round.silent.works = true;
  ASSERT_TRUE(round.RunToEnd());
  EXPECT_TRUE(round.server.blobs().Has(foreign));
}

TEST(CoordinatorFailuresTest, A18AReportQueuedBeforeTheRevocationDoesNotCount) {
  SilentRound round(2);
  round.silent.SendReport(round.silent.MakeReport());
  round.server.coordinator().SetDenied({"d3"});
  ASSERT_TRUE(round.RunToEnd());
  const v1::RunStatus status = round.server.Show(round.run);
  EXPECT_EQ(ParseCard(status.cards(1).payload())->updates(), 3u);
}

TEST(CoordinatorFailuresTest, AnAnnouncementCannotHaveAnothersBlobCleanedUp) {
  SilentRound round(2);
  const Digest foreign = round.server.PutBlob("a base of 20 bytes..");
  v1::UploadKey key;
  *key.mutable_session() = round.silent.Key();
  key.set_sha256(DigestBytes(foreign));
  key.set_size(kTestCoordinates * 4);
  ASSERT_TRUE(round.server.coordinator().AuthorizeUpload("d3", key).ok());
  round.silent.Leave();
  ASSERT_TRUE(round.RunToEnd());
  EXPECT_TRUE(round.server.blobs().Has(foreign));
}

TEST(CoordinatorFailuresTest, AnUploadThatWasNeverReportedIsCleanedUp) {
  SilentRound round(2);
  const std::string bytes(kTestCoordinates * 4, '\1');
  ASSERT_TRUE(round.silent.Upload(bytes, Sha256(bytes)).ok());
  round.silent.Leave();
  ASSERT_TRUE(round.RunToEnd());
  EXPECT_FALSE(round.server.blobs().Has(Sha256(bytes)));
}

TEST(CoordinatorFailuresTest, AnUploadThatEndsTogetherWithItsRoundIsCleanedUp) {
  SilentRound round(2);
  BlobStore& blobs = round.server.blobs();
  const std::vector<uint8_t> bytes(kTestCoordinates * 4, 1);
  v1::UploadKey key;
  *key.mutable_session() = round.silent.Key();
  key.set_sha256(DigestBytes(Sha256(bytes)));
  key.set_size(bytes.size());
  const std::string name =
      *round.server.coordinator().AuthorizeUpload("d3", key);
  ASSERT_TRUE(blobs.AppendPartial(name, 0, bytes, key.size()).ok());
  round.server.database().before_commit = [&] {
    EXPECT_TRUE(blobs.FinishPartial(name, Sha256(bytes), key.size()).ok());
  };
  round.server.Pass(absl::Minutes(10));  // the deadline
  EXPECT_TRUE(round.server.HasEvent(round.run, "d3 lost"));
  EXPECT_FALSE(blobs.Has(Sha256(bytes)));
}

TEST(CoordinatorFailuresTest, AnUpdateInAnEvaluationIsRefused) {
  for (const bool weighs : {false, true}) {
    TestServer server;
    auto fleet = MakeFleet(&server);
    FakeDevice& bad = *fleet[3];
    bad.silent_at = 1;
    v1::TaskPlan plan = server.MakePlan();
    plan.mutable_rounds()->set_count(1);
    const std::string run = server.Submit(plan);
    ASSERT_TRUE(RunUntil(server, fleet, [&] {
      return bad.manifest() != nullptr &&
             bad.manifest()->kind() == v1::RoundManifest::EVAL;
    }));
    v1::Report report = bad.MakeReport();
    weighs ? report.set_weight(1)
           : report.set_update_digest(std::string(32, 'x'));
    bad.SendReport(report);
    ASSERT_TRUE(RunToEnd(server, fleet, run));
    while (bad.Work()) {
    }
    ASSERT_EQ(bad.outcomes.size(), 2u);
    EXPECT_EQ(bad.outcomes[1].result(), v1::Outcome::REFUSED);
    EXPECT_THAT(bad.outcomes[1].detail(), HasSubstr("carries an update"));
  }
}

TEST(CoordinatorFailuresTest, OneClientLostTheRoundCommitsWithThree) {
  SilentRound round(2);
  round.silent.Leave();
  ASSERT_TRUE(round.RunToEnd());
  const v1::RunStatus status = round.server.Show(round.run);
  EXPECT_EQ(ParseCard(status.cards(1).payload())->updates(), 3u);
  EXPECT_TRUE(round.server.HasEvent(round.run, "d3 lost at "));
  EXPECT_TRUE(
      round.server.HasEvent(round.run, "stream was gone longer than 30s"));
}

TEST(CoordinatorFailuresTest, AReportAfterTheDeadlineIsLate) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  FakeDevice& slow = *fleet[0];
  slow.works = false;
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunUntil(server, fleet, [&] { return slow.manifest(); }));
  const v1::Report report = slow.MakeReport();
  ASSERT_TRUE(RunUntil(server, fleet, [&] { return !slow.outcomes.empty(); }));
  EXPECT_EQ(slow.outcomes[0].result(), v1::Outcome::LATE);
  slow.SendReport(report);
  ASSERT_TRUE(
      RunUntil(server, fleet, [&] { return slow.outcomes.size() == 2; }));
  EXPECT_EQ(slow.outcomes[1].result(), v1::Outcome::LATE);
  EXPECT_TRUE(server.HasEvent(run, "the report of d1 came too late"));
}

TEST(CoordinatorFailuresTest, TheSameReportAgainGetsTheSameAnswer) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  for (auto& device : fleet) device->works = false;
  FakeDevice& twice = *fleet[0];
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunUntil(server, fleet, [&] { return twice.manifest(); }));
  v1::Report report = twice.MakeReport();
  twice.SendReport(report);
  report.set_train_seconds(99);  // not part of what is reported
  twice.SendReport(report);
  report.set_weight(report.weight() + 1);
  twice.SendReport(report);
  ASSERT_TRUE(
      RunUntil(server, fleet, [&] { return twice.outcomes.size() == 3; }));
  EXPECT_EQ(twice.outcomes[0].result(), v1::Outcome::ACCEPTED);
  EXPECT_EQ(twice.outcomes[1].result(), v1::Outcome::ACCEPTED);
  EXPECT_EQ(twice.outcomes[2].result(), v1::Outcome::REFUSED);
  EXPECT_TRUE(server.HasEvent(run, "equivocation: d1"));
}

TEST(CoordinatorFailuresTest, ThreeAbandonedRoundsFailTheRun) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  for (auto& device : fleet) device->works = false;
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  const v1::RunStatus status = server.Show(run);
  EXPECT_EQ(status.state(), v1::RunStatus::FAILED);
  EXPECT_THAT(status.detail(), StartsWith("not enough clients"));
  EXPECT_THAT(status.detail(), HasSubstr("3 times"));
  EXPECT_EQ(fleet[0]->outcomes.size(), 2u);  // the third waits in its channel
}

TEST(CoordinatorFailuresTest, ARunForWhichNobodyComesFails) {
  TestServer server;
  std::vector<std::unique_ptr<FakeDevice>> nobody;
  const std::string run = server.Submit(server.MakePlan());
  const absl::Time before = server.clock().Now();
  ASSERT_TRUE(RunToEnd(server, nobody, run));
  EXPECT_THAT(server.Show(run).detail(), StartsWith("not enough clients"));
  EXPECT_EQ(server.clock().Now() - before, 3 * absl::Minutes(10));
}

TEST(CoordinatorFailuresTest, DecliningClientsDoNotHoldTheRound) {
  SilentRound round(1);
  FakeDevice& shy = round.silent;
  v1::ClientMessage message;
  *message.mutable_declined()->mutable_session() = shy.Key();
  message.mutable_declined()->set_reason(v1::Declined::POLICY);
  message.mutable_declined()->set_detail("outside its window");
  shy.Send(message);
  ASSERT_TRUE(RunUntil(round.server, round.fleet, [&] {
    return round.server.Show(round.run).rounds_done() == 1 &&
           !shy.outcomes.empty();
  }));
  EXPECT_TRUE(
      round.server.HasEvent(round.run, "d2 declined: outside its window"));
  EXPECT_EQ(shy.outcomes[0].result(), v1::Outcome::CANCELLED);
}

TEST(CoordinatorFailuresTest, StopCancelsTheRound) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  for (auto& device : fleet) device->works = false;
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunUntil(server, fleet, [&] { return fleet[3]->manifest(); }));
  const auto stopped = server.coordinator().StopRun(run);
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(stopped->state(), v1::RunStatus::STOPPED);
  fleet[3]->Work();
  EXPECT_EQ(fleet[3]->outcomes.at(0).result(), v1::Outcome::CANCELLED);
  EXPECT_EQ(server.coordinator().StopRun(run)->detail(), stopped->detail());
}

}  // namespace
}  // namespace edgetune
