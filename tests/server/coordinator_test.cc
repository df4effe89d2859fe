#include "server/coordinator.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/status.h"
#include "protos/plan_check.h"
#include "tests/server/test_server.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

// The adapter after one more round, in plain double arithmetic.
std::vector<double> NextAdapter(
    std::vector<double> adapter, uint32_t round,
    const std::vector<std::unique_ptr<FakeDevice>>& fleet,
    bool equal_weights = false) {
  double weights = 0;
  for (const auto& device : fleet) {
    weights += equal_weights ? 1 : device->Weight();
  }
  for (const auto& device : fleet) {
    const ParameterVector update = device->Update(round);
    const double w = (equal_weights ? 1 : device->Weight()) / weights;
    for (size_t i = 0; i < adapter.size(); ++i) adapter[i] += w * update[i];
  }
  return adapter;
}

void ExpectNear(const ParameterVector& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  // 1e-6 is the criterion; float32 keeps these values to 1e-7.
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6);
}

TEST(CoordinatorTest, ThreeRoundsEqualTheWeightedMeanOfTheUpdates) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  const v1::RunStatus status = server.Show(run);
  EXPECT_EQ(status.state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(status.rounds_done(), 3u);
  ASSERT_EQ(status.cards_size(), 4);
  const ParameterVector first = server.Adapter(status, 0);
  std::vector<double> want(first.begin(), first.end());
  for (uint32_t round = 0; round < 3; ++round) {
    want = NextAdapter(want, round, fleet);
    ExpectNear(server.Adapter(status, round + 1), want);
  }
}

TEST(CoordinatorTest, EqualWeightsIgnoreTheReportedOnes) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  v1::TaskPlan plan = server.MakePlan();
  plan.mutable_rounds()->set_weights("equal");
  plan.mutable_rounds()->set_count(1);
  const std::string run = server.Submit(plan);
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  const v1::RunStatus status = server.Show(run);
  const ParameterVector first = server.Adapter(status, 0);
  ExpectNear(server.Adapter(status, 1),
             NextAdapter({first.begin(), first.end()}, 0, fleet, true));
}

TEST(CoordinatorTest, EveryVersionIsMeasuredAndTheLastByTheClosingEvaluation) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  const v1::RunStatus status = server.Show(run);
  ASSERT_EQ(status.measures_size(), 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(status.measures(i).version(), static_cast<uint32_t>(i));
    EXPECT_EQ(status.measures(i).clients(), 4u);
    EXPECT_EQ(status.measures(i).tokens(), 110u);  // 17 + 24 + 31 + 38
    EXPECT_DOUBLE_EQ(status.measures(i).nll_sum(), 220);
  }
}

TEST(CoordinatorTest, CardsAreSignedAndChained) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  const v1::RunStatus status = server.Show(run);
  TrustedKeys trusted;
  trusted.round.push_back(server.round_key().public_key());
  std::string previous;
  for (int i = 0; i < status.cards_size(); ++i) {
    EXPECT_TRUE(
        VerifyDocument(DocumentUse::kCard, status.cards(i), trusted).ok());
    const auto card = *ParseCard(status.cards(i).payload());
    EXPECT_EQ(card.version(), static_cast<uint32_t>(i));
    EXPECT_EQ(card.updates(), i == 0 ? 0u : 4u);
    EXPECT_EQ(card.prev_card_digest(), previous);
    previous = Sha256Bytes(status.cards(i).payload());
  }
}

TEST(CoordinatorTest, UpdatesAreRemovedAndAdaptersStay) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string run = server.Submit(server.MakePlan());
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  // Base, initial adapter and three published ones.
  EXPECT_EQ(server.blobs().List()->size(), 5u);
  EXPECT_EQ(server.Show(run).bytes_up(), 3u * 4u * kTestCoordinates * 4u);
}

TEST(CoordinatorTest, TwoRunsAtOnceShareOneFleet) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string a = server.Submit(server.MakePlan("a"));
  v1::TaskPlan other = server.MakePlan("b");
  other.mutable_rounds()->set_over_select(1.5);
  const std::string b = server.Submit(other);
  ASSERT_NE(a, b);
  ASSERT_TRUE(RunToEnd(server, fleet, a));
  ASSERT_TRUE(RunToEnd(server, fleet, b));
  EXPECT_EQ(server.Show(a).state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(server.Show(b).state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(server.AdapterBytes(server.Show(a), 3),
            server.AdapterBytes(server.Show(b), 3));
}

TEST(CoordinatorTest, RunsTakeTurns) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string a = server.Submit(server.MakePlan("a"));
  const std::string b = server.Submit(server.MakePlan("b"));
  uint32_t most_ahead = 0;
  ASSERT_TRUE(RunUntil(server, fleet, [&] {
    const uint32_t x = server.Show(a).rounds_done();
    const uint32_t y = server.Show(b).rounds_done();
    most_ahead = std::max(most_ahead, x > y ? x - y : y - x);
    return server.Show(a).ended_ms() != 0 && server.Show(b).ended_ms() != 0;
  }));
  EXPECT_EQ(most_ahead, 1u);
}

TEST(CoordinatorTest, ARunWaitsForDevicesThatAreBusyWithAnother) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  for (auto& device : fleet) device->works = false;
  const std::string a = server.Submit(server.MakePlan("a"));
  ASSERT_TRUE(RunUntil(server, fleet, [&] { return fleet[3]->manifest(); }));
  v1::TaskPlan other = server.MakePlan("b");
  other.mutable_rounds()->set_select_timeout_ms(60'000);
  const std::string b = server.Submit(other);
  server.Pass(absl::Minutes(2));
  for (auto& device : fleet) {
    device->works = true;
    device->SendReport(device->MakeReport());
  }
  ASSERT_TRUE(RunToEnd(server, fleet, b));
  EXPECT_EQ(server.Show(b).state(), v1::RunStatus::FINISHED);
  EXPECT_FALSE(server.HasEvent(b, "abandoned"));
}

TEST(CoordinatorTest, DevicesOfAnotherPopulationAreToldToComeBack) {
  TestServer server;
  server.Submit(server.MakePlan());
  FakeDevice stranger(&server, "stranger", 1);
  stranger.Arrive("elsewhere");
  server.coordinator().Step();
  ASSERT_EQ(stranger.channel().messages.size(), 1u);
  const v1::ServerMessage& message = stranger.channel().messages[0];
  EXPECT_EQ(message.come_back().after_ms(), 5000u);
  EXPECT_THAT(message.come_back().reason(), HasSubstr("elsewhere"));
}

// 20 hellos a second, however many devices there are.
TEST(CoordinatorTest, ManyIdleDevicesAreToldToComeBackLater) {
  TestServer server;
  server.Submit(server.MakePlan());
  std::vector<std::unique_ptr<FakeDevice>> strangers;
  for (int i = 0; i < 240; ++i) {
    strangers.push_back(std::make_unique<FakeDevice>(
        &server, "stranger-" + std::to_string(i), 1));
    strangers.back()->Arrive("elsewhere");
  }
  server.coordinator().Step();
  for (const auto& stranger : strangers) {
    ASSERT_EQ(stranger->channel().messages.size(), 1u);
    EXPECT_EQ(stranger->channel().messages[0].come_back().after_ms(), 12'000u);
  }
}

// 60 draws of 4 of 12: each device is asked 20 times, with a standard deviation
// of 3.7; beyond 5 of them (0 and 39) is less than one in a million.
TEST(CoordinatorTest, TheDevicesOfARoundAreDrawnUniformly) {
  std::map<std::string, int> asked;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    TestServer server;
    const auto fleet = MakeFleet(&server, 12);
    v1::TaskPlan plan = server.MakePlan();
    plan.mutable_train()->set_seed(seed);
    server.Submit(plan);
    server.coordinator().Step();
    int assigned = 0;
    for (const auto& device : fleet) {
      for (const auto& message : device->channel().messages) {
        if (!message.has_assignment()) continue;
        ++asked[device->id()];
        ++assigned;
      }
    }
    ASSERT_EQ(assigned, 4);
  }
  EXPECT_EQ(asked.size(), 12u);
  for (const auto& [id, times] : asked) EXPECT_LT(times, 39) << id;
}

TEST(CoordinatorTest, OverSelectionAsksMoreAndCountsAllWhoAnswer) {
  TestServer server;
  auto fleet = MakeFleet(&server, 6);
  v1::TaskPlan plan = server.MakePlan();
  plan.mutable_rounds()->set_over_select(1.3);  // round(5.2) = 5
  plan.mutable_rounds()->set_count(1);
  const std::string run = server.Submit(plan);
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  const auto card = *ParseCard(server.Show(run).cards(1).payload());
  EXPECT_EQ(card.updates(), 5u);
}

TEST(CoordinatorTest, SubmitIsIdempotent) {
  TestServer server;
  const v1::TaskPlan plan = server.MakePlan();
  EXPECT_EQ(server.Submit(plan), server.Submit(plan));
  EXPECT_EQ(server.coordinator().List().size(), 1u);
}

TEST(CoordinatorTest, SubmitNamesTheMissingPart) {
  TestServer server;
  v1::TaskPlan plan = server.MakePlan();
  plan.mutable_lora()->set_initial_digest(std::string(32, 'x'));
  const auto status = server.coordinator().Submit(server.Sign(plan)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("initial adapter"));
}

TEST(CoordinatorTest, SubmitRefusesAnAdapterThatIsNotFinite) {
  TestServer server;
  v1::TaskPlan plan = server.MakePlan();
  ParameterVector bad(kTestCoordinates, 0);
  bad[3] = std::nanf("");
  plan.mutable_lora()->set_initial_digest(
      DigestBytes(server.PutBlob(SerializeParameters(bad))));
  EXPECT_TRUE(absl::IsInvalidArgument(
      server.coordinator().Submit(server.Sign(plan)).status()));
}

TEST(CoordinatorTest, SubmitRefusesAForeignKeyAndAnExpiredPlan) {
  TestServer server;
  v1::TaskPlan plan = server.MakePlan();
  const SigningKey other = *SigningKey::Generate();
  const auto forged =
      *SignDocument(DocumentUse::kPlan, plan.SerializeAsString(), other);
  EXPECT_TRUE(
      absl::IsPermissionDenied(server.coordinator().Submit(forged).status()));
  plan.mutable_header()->set_expires_ms(1'700'000'500'000);
  EXPECT_EQ(KindOf(server.coordinator().Submit(server.Sign(plan)).status()),
            ErrorKind::kIdentity);
}

TEST(CoordinatorTest, RunsAreFoundByPrefix) {
  TestServer server;
  const std::string run = server.Submit(server.MakePlan());
  EXPECT_EQ(server.coordinator().Show(run.substr(0, 4))->run_id(), run);
  EXPECT_TRUE(absl::IsInvalidArgument(
      server.coordinator().Show(run.substr(0, 3)).status()));
  EXPECT_TRUE(absl::IsNotFound(
      server.coordinator().Show(std::string(32, 'z')).status()));
}

TEST(CoordinatorTest, AWatcherSeesTheBeginningAndTheEnd) {
  TestServer server;
  auto fleet = MakeFleet(&server);
  const std::string run = server.Submit(server.MakePlan());
  std::vector<v1::RunStatus::State> seen;
  const auto watch = server.coordinator().Watch(
      run,
      [&](const v1::RunStatus& status) { seen.push_back(status.state()); });
  ASSERT_TRUE(watch.ok());
  ASSERT_TRUE(RunToEnd(server, fleet, run));
  EXPECT_EQ(seen.back(), v1::RunStatus::FINISHED);
  const size_t count = seen.size();
  server.coordinator().Unwatch(*watch);
  server.Pass(absl::Seconds(1));
  EXPECT_EQ(seen.size(), count);
}

TEST(CoordinatorTest, OwnThreadRunsTheSameLoop) {
  TestServer server;
  server.coordinator().Start();
  const std::string run = server.Submit(server.MakePlan());
  EXPECT_EQ(server.Show(run).state(), v1::RunStatus::QUEUED);
  EXPECT_TRUE(server.coordinator().StopRun(run).ok());
  server.coordinator().Stop();
  EXPECT_EQ(server.Show(run).state(), v1::RunStatus::STOPPED);
  EXPECT_TRUE(absl::IsUnavailable(server.coordinator().StopRun(run).status()));
}

}  // namespace
}  // namespace edgetune
