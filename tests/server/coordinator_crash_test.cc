// Kills the server at every transaction of a run, before and after the commit,
// starts it again, and expects the very same adapters, and nothing else in the
// store.

#include <gmock/gmock.h>

#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "protos/plan_check.h"
#include "tests/server/test_server.h"

namespace edgetune {
namespace {

v1::TaskPlan CrashPlan(TestServer& server) {
  v1::TaskPlan plan = server.MakePlan();
  plan.mutable_rounds()->set_quorum(4);  // so that every update counts
  plan.mutable_rounds()->set_server_optimizer("adam");
  plan.mutable_lora()->set_rule("rolora");  // rounds of unequal sizes
  return plan;
}

std::vector<std::unique_ptr<FakeDevice>> MakeCrashFleet(TestServer& server) {
  auto fleet = MakeFleet(&server);
  fleet[3]->trains_twice = true;
  return fleet;
}

struct Ending {
  v1::RunStatus::State state;
  std::vector<std::string> adapters;
  std::vector<uint32_t> updates;
  std::vector<std::string> stored;
  bool operator==(const Ending&) const = default;
};

Ending EndingOf(TestServer& server, const std::string& run) {
  const v1::RunStatus status = server.Show(run);
  Ending ending{status.state(), {}, {}, server.StoredNames()};
  for (int i = 0; i < status.cards_size(); ++i) {
    ending.adapters.push_back(server.AdapterBytes(status, i));
    ending.updates.push_back(ParseCard(status.cards(i).payload())->updates());
  }
  return ending;
}

// Transactions of an undisturbed run, and how it ends.
int64_t CountTransactions(Ending* ending) {
  TestServer server;
  auto fleet = MakeCrashFleet(server);
  const std::string run = server.Submit(CrashPlan(server));
  EDGETUNE_CHECK(RunToEnd(server, fleet, run));
  *ending = EndingOf(server, run);
  return server.database().count;
}

Ending RunWithCrash(int64_t at, FailingDatabase::Moment moment, bool* crashed) {
  TestServer server;
  server.database().fail_at = at;
  server.database().moment = moment;
  auto fleet = MakeCrashFleet(server);
  const v1::Envelope plan = server.Sign(CrashPlan(server));
  const std::string run = Sha256Bytes(plan.payload());
  (void)server.coordinator().Submit(plan);
  if (!server.dead()) (void)RunToEnd(server, fleet, run);
  *crashed = server.dead();
  EDGETUNE_CHECK(server.Open());
  EDGETUNE_CHECK(server.coordinator().Submit(plan).ok());
  for (auto& device : fleet) device->Arrive();
  EDGETUNE_CHECK(RunToEnd(server, fleet, run));
  return EndingOf(server, run);
}

class CoordinatorCrashTest
    : public testing::TestWithParam<FailingDatabase::Moment> {};

TEST_P(CoordinatorCrashTest, EveryTransactionMayBeTheLast) {
  Ending undisturbed;
  const int64_t transactions = CountTransactions(&undisturbed);
  ASSERT_GT(transactions, 10);
  ASSERT_EQ(undisturbed.state, v1::RunStatus::FINISHED);
  // The base, and the adapters 0 to 3.
  ASSERT_EQ(undisturbed.stored.size(), 5u);
  // 0 is the one that opens the server.
  for (int64_t at = 1; at < transactions; ++at) {
    bool crashed = false;
    const Ending ending = RunWithCrash(at, GetParam(), &crashed);
    EXPECT_TRUE(crashed) << "transaction " << at;
    EXPECT_TRUE(ending == undisturbed) << "transaction " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(BeforeAndAfter, CoordinatorCrashTest,
                         testing::Values(FailingDatabase::Moment::kBefore,
                                         FailingDatabase::Moment::kAfter));

}  // namespace
}  // namespace edgetune
