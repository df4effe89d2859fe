// A server that is stopped or killed in each phase and started again.

#include <gmock/gmock.h>

#include "protos/plan_check.h"
#include "tests/server/test_server.h"

namespace edgetune {
namespace {

class CoordinatorRestartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fleet_ = MakeFleet(&server_);
    plan_ = server_.MakePlan();
  }
  void Speak() {
    for (auto& device : fleet_) device->silent_at.reset();
  }
  void Return() {
    for (auto& device : fleet_) device->Arrive();
  }
  // Until all hold an assignment of `round`, in which they are silent.
  void RunUntilAssigned(uint32_t round) {
    for (auto& device : fleet_) device->silent_at = round;
    ASSERT_TRUE(RunUntil(server_, fleet_, [&] {
      for (auto& device : fleet_) {
        if (!device->manifest() || device->manifest()->round() != round) {
          return false;
        }
      }
      return true;
    }));
  }
  void ExpectFinished() {
    ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
    EXPECT_EQ(server_.Show(run_).state(), v1::RunStatus::FINISHED);
    EXPECT_EQ(server_.Show(run_).cards_size(), 4);
  }

  TestServer server_;
  std::vector<std::unique_ptr<FakeDevice>> fleet_;
  v1::TaskPlan plan_;
  std::string run_;
};

TEST_F(CoordinatorRestartTest, StopTellsDevicesThatItWillBeBack) {
  run_ = server_.Submit(plan_);
  server_.coordinator().Stop();
  ASSERT_TRUE(fleet_[0]->channel().closed.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*fleet_[0]->channel().closed));
  EXPECT_TRUE(
      absl::IsUnavailable(server_.coordinator()
                              .Submit(server_.Sign(server_.MakePlan("other")))
                              .status()));
}

TEST_F(CoordinatorRestartTest, StoppedWhileSelectingTheRunContinues) {
  for (auto& device : fleet_) device->Leave();
  run_ = server_.Submit(plan_);
  server_.coordinator().Stop();
  ASSERT_TRUE(server_.Open());
  Return();
  ExpectFinished();
}

TEST_F(CoordinatorRestartTest, StoppedBetweenRoundsTheRunContinues) {
  run_ = server_.Submit(plan_);
  ASSERT_TRUE(RunUntil(server_, fleet_,
                       [&] { return server_.Show(run_).rounds_done() == 1; }));
  server_.coordinator().Stop();
  ASSERT_TRUE(server_.Open());
  EXPECT_EQ(server_.Show(run_).rounds_done(), 1u);
  Return();
  ExpectFinished();
}

TEST_F(CoordinatorRestartTest, KilledMidRoundTheSameManifestIsSentAgain) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(1);
  const std::string before = fleet_[0]->manifest()->SerializeAsString();
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  Return();
  server_.coordinator().Step();
  for (auto& device : fleet_) device->Work();
  EXPECT_EQ(fleet_[0]->manifest()->SerializeAsString(), before);
  Speak();
  for (auto& device : fleet_) device->SendReport(device->MakeReport());
  ExpectFinished();
}

TEST_F(CoordinatorRestartTest, AcceptedReportsSurviveAndAreNotCountedTwice) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  for (int i : {0, 1}) fleet_[i]->SendReport(fleet_[i]->MakeReport());
  server_.coordinator().Step();
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  Return();  // d1 and d2 never saw their outcome
  server_.coordinator().Step();
  fleet_[0]->Work();
  EXPECT_EQ(fleet_[0]->outcomes.at(0).result(), v1::Outcome::ACCEPTED);
  Speak();
  ExpectFinished();
  EXPECT_EQ(ParseCard(server_.Show(run_).cards(1).payload())->updates(), 4u);
}

TEST_F(CoordinatorRestartTest, AnUploadMayBeReportedAfterTheRestart) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  const v1::Report report = fleet_[0]->MakeReport();  // uploads
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  fleet_[0]->Arrive();
  fleet_[0]->SendReport(report);
  server_.coordinator().Step();
  EXPECT_TRUE(server_.HasEvent(run_, "d1 accepted"));
}

TEST_F(CoordinatorRestartTest, AnUploadThatIsNeverReportedGoesWithItsRound) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  const v1::Report report = fleet_[3]->MakeReport();  // uploads
  const Digest digest = *DigestFromBytes(report.update_digest());
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  EXPECT_TRUE(server_.blobs().Has(digest));
  Speak();
  for (int i : {0, 1, 2}) fleet_[i]->Arrive();
  fleet_.pop_back();
  ASSERT_TRUE(RunUntil(server_, fleet_,
                       [&] { return server_.Show(run_).rounds_done() == 1; }));
  EXPECT_FALSE(server_.blobs().Has(digest));
}

TEST_F(CoordinatorRestartTest, PartsOfUploadsThatNobodyAwaitsGoAtTheStart) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  v1::UploadKey key;
  *key.mutable_session() = fleet_[0]->Key();
  key.set_sha256(std::string(32, 's'));
  key.set_size(kTestCoordinates * 4);
  const std::string open = *server_.coordinator().AuthorizeUpload("d1", key);
  const std::string ended = open + "0";  // as of a device that was asked once
  const std::vector<uint8_t> some(8, 1);
  for (const std::string& name : {open, ended, std::string("part-of-a-base")}) {
    ASSERT_TRUE(server_.blobs().AppendPartial(name, 0, some, 100).ok());
  }
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  EXPECT_EQ(*server_.blobs().ListPartials(),
            (std::vector<std::string>{"part-of-a-base", open}));
}

TEST_F(CoordinatorRestartTest, ClientsThatDoNotReturnAreLostAfterTheGrace) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  for (int i : {0, 1, 2}) fleet_[i]->Arrive();
  server_.coordinator().Step();
  for (int i : {0, 1, 2}) fleet_[i]->SendReport(fleet_[i]->MakeReport());
  server_.Pass(absl::Seconds(29));
  EXPECT_EQ(server_.Show(run_).rounds_done(), 0u);
  server_.Pass(absl::Seconds(1));
  EXPECT_EQ(server_.Show(run_).rounds_done(), 1u);
  EXPECT_TRUE(server_.HasEvent(run_, "d4 lost"));
}

TEST_F(CoordinatorRestartTest, KilledInTheClosingEvaluationTheRunFinishes) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(3);
  EXPECT_EQ(fleet_[0]->manifest()->kind(), v1::RoundManifest::EVAL);
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  Speak();
  Return();
  ExpectFinished();
  EXPECT_EQ(server_.Show(run_).measures_size(), 4);
}

TEST_F(CoordinatorRestartTest, AForgottenSessionIsCancelledAndAnOldOneLate) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  v1::ClientMessage hello;
  v1::SessionKey& key = *hello.mutable_hello()->mutable_resume();
  key = fleet_[0]->Key();
  key.set_round(7);
  fleet_[0]->Send(hello);
  server_.coordinator().Step();
  const auto& messages = fleet_[0]->channel().messages;
  // The unknown session first, then the assignment that is open.
  ASSERT_GE(messages.size(), 2u);
  EXPECT_EQ(messages[messages.size() - 2].outcome().result(),
            v1::Outcome::CANCELLED);
  EXPECT_TRUE(messages.back().has_assignment());
  server_.Pass(absl::Minutes(10));
  fleet_[0]->Hello();  // still names the session that was lost
  server_.coordinator().Step();
  EXPECT_EQ(messages.back().outcome().result(), v1::Outcome::LATE);
}

TEST_F(CoordinatorRestartTest, AClientThatLostItsMemoryBeginsAgain) {
  run_ = server_.Submit(plan_);
  RunUntilAssigned(0);
  FakeDevice fresh(&server_, "d1", 1);
  fresh.Arrive();
  Speak();
  server_.coordinator().Step();
  EXPECT_TRUE(fresh.channel().messages.back().has_assignment());
  EXPECT_EQ(server_.Show(run_).clients(0).state(), "assigned");
}

TEST_F(CoordinatorRestartTest, EventsAndCountersAreDurable) {
  run_ = server_.Submit(plan_);
  ExpectFinished();
  const std::string before = server_.Show(run_).SerializeAsString();
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  EXPECT_EQ(server_.Show(run_).SerializeAsString(), before);
}

}  // namespace
}  // namespace edgetune
