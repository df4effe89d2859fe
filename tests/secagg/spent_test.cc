// A12: what a device contributed from is spent, whatever the coordinator calls
// the next attempt, and whatever happens to the device's process.

#include <gmock/gmock.h>

#include "absl/time/clock.h"
#include "tests/secagg/lying_coordinator.h"

namespace edgetune {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::kVictim;
using testing::LyingCoordinator;
using ::testing::Not;
using testing::Papers;
using ::testing::SizeIs;
using Body = LyingCoordinator::Body;

// Plays until the masked input has arrived, then ends the attempt.
void Spend(LyingCoordinator& world) {
  world.stop = [](const Body& message) { return message.has_input(); };
  const v1::Assignment assignment = world.MakePapers().Sign();
  ASSERT_EQ(world.Play(assignment).code, v1::ABORT_UNSPECIFIED);
  world.Cancel(assignment);
}

void ExpectSpent(LyingCoordinator& world, const Papers& papers) {
  const v1::Declined declined = world.ExpectDeclined(papers.Sign());
  EXPECT_EQ(declined.reason(), v1::Declined::REFUSED);
  EXPECT_THAT(declined.detail(), HasSubstr("SPENT"));
}

// The secrets of the session died with the process: it is free, and knows.
void ExpectSpentAfterRestart(LyingCoordinator& world) {
  ASSERT_TRUE(world.door.WaitConnected(world.fleet.members[kVictim].name,
                                       /*connected=*/false));
  world.MakeProcess();
  EXPECT_FALSE(world.Hear({v1::ClientMessage::kHello}).hello().has_resume());
  ExpectSpent(world, world.MakePapers(0, 1));
}

TEST(SpentTest, A12AnotherAttemptOfTheSameAdapterIsRefused) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Spend(world);
  ExpectSpent(world, world.MakePapers(0, 1));
  ExpectSpent(world, world.MakePapers(0, 2));
}

TEST(SpentTest, A12TheNextRoundFromTheSameAdapterIsRefused) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Spend(world);
  ExpectSpent(world, world.MakePapers(1, 0));
}

TEST(SpentTest, A12AnotherAdapterIsNotSpent) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Spend(world);
  Papers next = world.MakePapers(1, 0);
  next.cards[1].set_adapter_digest(std::string(32, 'a'));
  next.Link();
  world.ExpectAccepted(next.Sign());
}

TEST(SpentTest, A12AnOverrideOfTheReleaseKeyAllowsOneMore) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Spend(world);
  Papers papers = world.MakePapers(0, 1);
  papers.overrides = {MakeOverride(papers, 1)};
  world.ExpectAccepted(papers.Sign());
}

// I4: an update that may have left is never masked a second time.
TEST(SpentTest, A12TheUpdateAfterAnOverrideIsANewOne) {
  LyingCoordinator world;
  testing::RealClient& client = world.MakeClient();
  client.Start();
  Spend(world);
  EXPECT_EQ(client.engine.trainings, 1);
  Papers papers = world.MakePapers(0, 1);
  papers.overrides = {MakeOverride(papers, 1)};
  world.Play(papers.Sign());
  EXPECT_EQ(client.engine.trainings, 2);
}

// While nothing has left, the next attempt gets the same.
TEST(SpentTest, A15AnUnspentUpdateIsUsedAgain) {
  LyingCoordinator world;
  testing::RealClient& client = world.MakeClient();
  client.Start();
  world.stop = [](const Body& message) { return message.has_ack(); };
  const v1::Assignment assignment = world.MakePapers().Sign();
  world.Play(assignment);
  world.Cancel(assignment);
  world.stop = nullptr;
  EXPECT_TRUE(world.Play(world.MakePapers(0, 1).Sign()).committed);
  EXPECT_EQ(client.engine.trainings, 1);
}

// A28: what cannot be written down is not done.
TEST(SpentTest, A28ADeviceThatCannotWriteSendsNothing) {
  const struct {
    const char* table;
    Body::BodyCase never;
  } cases[] = {{"advertised", Body::kAdvertise},
               {"spent", Body::kInput},
               {"signed_sets", Body::kSurvivors}};
  for (const auto& [table, never] : cases) {
    LyingCoordinator world;
    world.MakeClient().Start();
    world.MakeClient().Execute(
        std::string("CREATE TRIGGER full BEFORE INSERT ON ") + table +
        " BEGIN SELECT RAISE(ABORT, 'full'); END");
    world.MakeClient().Start();
    world.Hear({v1::ClientMessage::kHello});
    const LyingCoordinator::Fate fate = world.Play();
    EXPECT_TRUE(fate.declined.has_value()) << table;
    EXPECT_THAT(fate.said, Not(Contains(never))) << table;
    EXPECT_FALSE(fate.committed) << table;
  }
}

TEST(SpentTest, A12AnOverrideForAnotherAdapterCountsForNothing) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Spend(world);
  Papers papers = world.MakePapers(0, 1);
  papers.overrides = {MakeOverride(papers, 1)};
  papers.overrides[0].set_adapter_digest(std::string(32, 'a'));
  ExpectSpent(world, papers);
  papers = world.MakePapers(0, 2);
  papers.overrides = {MakeOverride(papers, 1)};
  testing::Expire(papers.overrides[0].mutable_header());
  ExpectSpent(world, papers);
}

TEST(SpentTest, A12AClientThatStoppedAndStartedRemembers) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Spend(world);
  world.MakeClient().Start();
  world.Hear({v1::ClientMessage::kHello});
  ExpectSpent(world, world.MakePapers(0, 1));
}

// Its secrets were in memory only.
TEST(SpentTest, A27AClientThatStopsWhileMaskingIsFreeAfterwards) {
  LyingCoordinator world;
  testing::RealClient& client = world.MakeClient();
  client.Start();
  world.stop = [](const Body& message) { return message.has_shares(); };
  world.Play();
  client.Stop();
  world.MakeClient().Start();
  EXPECT_FALSE(world.Hear({v1::ClientMessage::kHello}).hello().has_resume());
  world.ExpectAccepted(world.MakePapers(0, 1).Sign());
}

TEST(SpentTest, A12AKilledClientRemembersAfterItsInput) {
  LyingCoordinator world;
  testing::ClientProcess& client = world.MakeProcess();
  world.stop = [&](const Body& message) {
    if (message.has_input()) client.Kill();
    return message.has_input();
  };
  world.Play();
  ExpectSpentAfterRestart(world);
}

// Killed when it asks where its upload stands: no byte has left, but it cannot
// know that.
TEST(SpentTest, A12AKilledClientRemembersBeforeTheFirstByte) {
  LyingCoordinator world;
  world.door.CloseUploads();
  testing::ClientProcess& client = world.MakeProcess();
  world.to_member = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index != kVictim || !message.has_open()) return true;
    const int before = world.door.calls();
    world.Tell(kVictim, message);
    while (world.door.calls() == before) absl::SleepFor(absl::Milliseconds(1));
    client.Kill();
    world.over = true;
    return false;
  };
  world.Play();
  ExpectSpentAfterRestart(world);
}

}  // namespace
}  // namespace edgetune
