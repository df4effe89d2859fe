// Kills the server at every transaction of a run, before and after the commit,
// starts it again, and expects the very same adapters and control variates, and
// nothing else in the store.

#include <gmock/gmock.h>

#include <map>
#include <set>
#include <tuple>

#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "protos/plan_check.h"
#include "tests/server/test_server.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using Moment = FailingDatabase::Moment;
// Digests by round, as the devices' manifests name them.
using Variates = std::map<uint32_t, std::set<std::string>>;

enum class Kind { kUnequalRounds, kControlVariates };

v1::TaskPlan CrashPlan(TestServer& server, Kind kind) {
  v1::TaskPlan plan = server.MakePlan();
  plan.mutable_rounds()->set_quorum(4);  // so that every update counts
  plan.mutable_rounds()->set_server_optimizer("adam");
  if (kind == Kind::kUnequalRounds) plan.mutable_lora()->set_rule("rolora");
  if (kind == Kind::kControlVariates) UseScaffold(plan, 8);
  return plan;
}

std::vector<std::unique_ptr<FakeDevice>> MakeCrashFleet(TestServer& server,
                                                        Variates& variates) {
  auto fleet = MakeFleet(&server);
  fleet[3]->trains_twice = true;
  FakeDevice* const first = fleet[0].get();
  first->amends = [first, &variates](v1::Report&) {
    const v1::RoundManifest& manifest = *first->manifest();
    variates[manifest.round()].insert(manifest.control_digest());
  };
  return fleet;
}

struct Ending {
  v1::RunStatus::State state;
  std::vector<std::string> adapters;
  std::vector<uint32_t> updates;
  std::vector<std::string> stored;
  Variates variates;
  bool operator==(const Ending&) const = default;
};

Ending EndingOf(TestServer& server, const std::string& run) {
  const v1::RunStatus status = server.Show(run);
  Ending ending{status.state(), {}, {}, server.StoredNames(), {}};
  for (int i = 0; i < status.cards_size(); ++i) {
    ending.adapters.push_back(server.AdapterBytes(status, i));
    ending.updates.push_back(ParseCard(status.cards(i).payload())->updates());
  }
  return ending;
}

// Transactions of an undisturbed run, and how it ends.
int64_t CountTransactions(Kind kind, Ending* ending) {
  TestServer server;
  Variates variates;
  auto fleet = MakeCrashFleet(server, variates);
  const std::string run = server.Submit(CrashPlan(server, kind));
  EDGETUNE_CHECK(RunToEnd(server, fleet, run));
  *ending = EndingOf(server, run);
  ending->variates = variates;
  return server.database().count;
}

Ending RunWithCrash(Kind kind, int64_t at, Moment moment, bool* crashed) {
  TestServer server;
  Variates variates;
  server.database().fail_at = at;
  server.database().moment = moment;
  auto fleet = MakeCrashFleet(server, variates);
  const v1::Envelope plan = server.Sign(CrashPlan(server, kind));
  const std::string run = Sha256Bytes(plan.payload());
  (void)server.coordinator().Submit(plan);
  if (!server.dead()) (void)RunToEnd(server, fleet, run);
  *crashed = server.dead();
  EDGETUNE_CHECK(server.Open());
  EDGETUNE_CHECK(server.coordinator().Submit(plan).ok());
  for (auto& device : fleet) device->Arrive();
  EDGETUNE_CHECK(RunToEnd(server, fleet, run));
  Ending ending = EndingOf(server, run);
  ending.variates = variates;
  return ending;
}

class CoordinatorCrashTest
    : public ::testing::TestWithParam<std::tuple<Kind, Moment>> {};

TEST_P(CoordinatorCrashTest, EveryTransactionMayBeTheLast) {
  const auto [kind, moment] = GetParam();
  Ending undisturbed;
  const int64_t transactions = CountTransactions(kind, &undisturbed);
  ASSERT_GT(transactions, 10);
  ASSERT_EQ(undisturbed.state, v1::RunStatus::FINISHED);
  // The base, and the adapters 0 to 3.
  ASSERT_EQ(undisturbed.stored.size(), 5u);
  // Another one each round, or none.
  std::set<std::string> variates;
  for (const auto& [round, digests] : undisturbed.variates) {
    ASSERT_EQ(digests.size(), 1u);
    variates.insert(*digests.begin());
  }
  ASSERT_EQ(variates.size(), kind == Kind::kControlVariates ? 3u : 1u);
  // 0 is the one that opens the server.
  for (int64_t at = 1; at < transactions; ++at) {
    bool crashed = false;
    const Ending ending = RunWithCrash(kind, at, moment, &crashed);
    EXPECT_TRUE(crashed) << "transaction " << at;
    EXPECT_TRUE(ending == undisturbed) << "transaction " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(
    BeforeAndAfter, CoordinatorCrashTest,
    ::testing::Combine(::testing::Values(Kind::kUnequalRounds,
                                         Kind::kControlVariates),
                       ::testing::Values(Moment::kBefore, Moment::kAfter)));

}  // namespace
}  // namespace edgetune
