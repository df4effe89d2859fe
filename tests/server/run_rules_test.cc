// Rules of combining in a run: what is committed, what a restart changes, and
// rounds with too few updates.

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "protos/plan_check.h"
#include "server/run.h"
#include "tests/server/test_server.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr int kDevices = 7;

nlohmann::json Runs() {
  std::ifstream in(EDGETUNE_SOURCE_DIR
                   "/tests/aggregation/vectors/server_runs.json");
  return nlohmann::json::parse(in)["cases"];
}

v1::TaskPlan PlanOf(TestServer& server, const nlohmann::json& run) {
  v1::TaskPlan plan = server.MakePlan();
  v1::RoundsSpec& rounds = *plan.mutable_rounds();
  rounds.set_cohort(kDevices);
  rounds.set_quorum(kDevices);
  rounds.set_aggregator(run["rule"].get<std::string>());
  rounds.set_trim(run.value("trim", 0.0));
  rounds.set_byzantine(run.value("byzantine", 0u));
  rounds.set_kept(run.value("kept", 0u));
  rounds.set_norm_bound(run.value("norm_bound", 0.0));
  return plan;
}

// Updates are made by two libraries' sines and added in float32: 1e-6, the
// criterion of the mean, for three rounds.
TEST(RunRulesTest, EveryRoundCommitsWhatNumPyMakesOfTheUpdates) {
  for (const auto& wanted : Runs()) {
    TestServer server;
    auto fleet = MakeFleet(&server, kDevices);
    const std::string run = server.Submit(PlanOf(server, wanted));
    ASSERT_TRUE(RunToEnd(server, fleet, run));
    const v1::RunStatus status = server.Show(run);
    ASSERT_EQ(status.cards_size(), 4) << status.detail();
    for (int round = 0; round < 3; ++round) {
      const ParameterVector adapter = server.Adapter(status, round + 1);
      for (size_t i = 0; i < adapter.size(); ++i) {
        EXPECT_NEAR(adapter[i], wanted["after"][round][i].get<double>(), 3e-6)
            << wanted["rule"];
      }
    }
    EXPECT_EQ(ParseCard(status.cards(1).payload())->updates(), 7u);
  }
}

// The adapter of the first round; killed once after `reports` of them.
std::string FirstAdapter(const nlohmann::json& rule, int reports, bool kill) {
  TestServer server;
  auto fleet = MakeFleet(&server, kDevices);
  for (auto& device : fleet) device->works = false;
  const std::string run = server.Submit(PlanOf(server, rule));
  EXPECT_TRUE(RunUntil(server, fleet,
                       [&] { return fleet.back()->manifest() != nullptr; }));
  for (int i = 0; i < kDevices; ++i) {
    if (kill && i == reports) {
      server.Kill();
      EXPECT_TRUE(server.Open());
      for (auto& device : fleet) device->Arrive();
    }
    fleet[i]->SendReport(fleet[i]->MakeReport());
    server.coordinator().Step();
  }
  EXPECT_EQ(server.Show(run).rounds_done(), 1u) << rule;
  return server.AdapterBytes(server.Show(run), 1);
}

TEST(RunRulesTest, ARestartInMidRoundChangesNoBit) {
  nlohmann::json rules = Runs();
  rules.push_back({{"rule", "geometric_median"}});
  for (const auto& rule : rules) {
    const std::string whole = FirstAdapter(rule, 0, false);
    EXPECT_EQ(FirstAdapter(rule, 1, true), whole) << rule["rule"];
    EXPECT_EQ(FirstAdapter(rule, 6, true), whole) << rule["rule"];
  }
}

TEST(RunRulesTest, ARoundWithTooFewReportsIsAbandonedAndTriedAgain) {
  for (const auto& rule : Runs()) {
    TestServer server;
    auto fleet = MakeFleet(&server, kDevices);
    fleet[2]->works = false;
    const std::string run = server.Submit(PlanOf(server, rule));
    ASSERT_TRUE(RunUntil(server, fleet,
                         [&] { return server.Show(run).attempt() == 1; }));
    EXPECT_TRUE(server.HasEvent(
        run, "abandoned: 6 of 7 clients asked reported, 7 wanted"));
    fleet[2]->works = true;
    ASSERT_TRUE(RunToEnd(server, fleet, run));
    EXPECT_EQ(server.Show(run).state(), v1::RunStatus::FINISHED);
  }
}

// No plan that CheckPlan accepts comes here: its quorum is enough for the rule.
class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    plan_.mutable_rounds()->set_aggregator("krum");
    plan_.mutable_rounds()->set_byzantine(1);
    plan_.mutable_rounds()->set_attempts(2);
    const edgetune::Run::Stores stores = {
        &server_.blobs(), &server_.round_key(), [] { return nullptr; }};
    run_ = *edgetune::Run::Admit(stores, server_.Sign(plan_), plan_, 1, now_,
                                 batch_);
  }
  // All four devices take part and report.
  void Attempt(uint32_t attempt) {
    run_->Offer({"d1", "d2", "d3", "d4"}, 0, 1, now_, batch_);
    for (int i = 1; i <= 4; ++i) {
      v1::Report report;
      report.mutable_session()->set_run_id(run_->id());
      report.mutable_session()->set_attempt(attempt);
      report.set_weight(i);
      report.set_update_digest(DigestBytes(server_.PutBlob(
          SerializeParameters(ParameterVector(kTestCoordinates, i)))));
      run_->HandleReport("d" + std::to_string(i), report, now_, batch_);
    }
  }

  TestServer server_;
  v1::TaskPlan plan_ = server_.MakePlan();
  const absl::Time now_ = server_.clock().Now();
  Batch batch_;
  std::unique_ptr<edgetune::Run> run_;  // not ::testing::Test::Run
};

TEST_F(RunTest, ARuleThatGetsTooFewAbandonsTheRoundAndSaysSo) {
  const std::string reason =
      "4 updates were accumulated, the rule krum needs at least 5";
  Attempt(0);
  EXPECT_TRUE(batch_.failure.ok()) << batch_.failure;
  v1::RunStatus status = run_->Status();
  EXPECT_EQ(status.state(), v1::RunStatus::RUNNING);
  EXPECT_EQ(status.attempt(), 1u);
  EXPECT_EQ(status.cards_size(), 1);
  EXPECT_THAT(status.events(status.events_size() - 1).text(),
              HasSubstr("abandoned: " + reason));
  Attempt(1);
  EXPECT_TRUE(batch_.failure.ok()) << batch_.failure;
  status = run_->Status();
  EXPECT_EQ(status.state(), v1::RunStatus::FAILED);
  EXPECT_THAT(status.detail(), HasSubstr("not enough clients"));
  EXPECT_THAT(status.detail(), HasSubstr(reason));
}

}  // namespace
}  // namespace edgetune
