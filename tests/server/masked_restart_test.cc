// What a restart of the coordinator makes of one thing that it finds: each test
// leaves a row, a blob or a device behind as a crash, a disk or a person would.

#include <gmock/gmock.h>

#include <filesystem>

#include "base/status.h"
#include "tests/server/masked_fleet.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using testing::FileFaults;
using Kind = FileFaults::Kind;

constexpr const char* kInput = MaskedFleet::kPhases[2];
constexpr const char* kSurvivors = MaskedFleet::kPhases[3];

// Of six devices, this many have answered in the open phase.
constexpr int kFour = 4;

size_t SurvivorsOf(MaskedFleet& fleet) {
  return fleet.Receipts()[0].survivors();
}

// --- rows

constexpr const char* kDamage =
    "UPDATE secagg_records SET digest = zeroblob(32) WHERE number = ";

// A device whose upload is not known any more is asked again.
TEST(MaskedRestartTest, A28ADamagedMessageBeforeTheFreezeCostsNobody) {
  MaskedFleet fleet(0);
  fleet.StopIn(kInput, kFour);
  fleet.server.CloseFiles();
  // Two of the open phase, so that the damaged one is not the last row.
  fleet.Change(std::string(kDamage) +
               "(SELECT max(number) - 1 FROM secagg_records"
               " WHERE phase = 2 AND kind = 0)");
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 0u);
  EXPECT_EQ(SurvivorsOf(fleet), 6u);
}

TEST(MaskedRestartTest, A28ADamagedMessageAfterTheFreezeEndsTheSession) {
  MaskedFleet fleet(0);
  fleet.StopIn(kSurvivors, kFour);
  fleet.server.CloseFiles();
  fleet.Change(std::string(kDamage) +
               "(SELECT max(number) - 1 FROM secagg_records"
               " WHERE phase = 3 AND kind = 0)");
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 1u);
  EXPECT_TRUE(fleet.server.HasEvent(fleet.run_id, "its records are damaged"));
}

// It may be the freeze, which devices may have signed.
TEST(MaskedRestartTest, A28ADamagedLastRowEndsTheSession) {
  MaskedFleet fleet(0);
  fleet.StopIn(kSurvivors, 0);
  fleet.server.CloseFiles();
  fleet.Change(std::string(kDamage) +
               "(SELECT max(number) FROM secagg_records WHERE kind = 1)");
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 1u);
  EXPECT_TRUE(fleet.server.HasEvent(fleet.run_id, "its records are damaged"));
}

TEST(MaskedRestartTest, A28AMissingTransitionEndsTheSession) {
  MaskedFleet fleet(0);
  fleet.StopIn(kInput, kFour);
  fleet.server.CloseFiles();
  fleet.Change("DELETE FROM secagg_records WHERE kind = 1 AND phase = 1");
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 1u);
  EXPECT_TRUE(fleet.server.HasEvent(fleet.run_id, "cannot be restored"));
}

// --- masked vectors

TEST(MaskedRestartTest, A28AVectorThatIsGoneMakesADropout) {
  MaskedFleet fleet(0);
  fleet.StopIn(kInput, kFour);
  fleet.server.CloseFiles();
  ASSERT_TRUE(fs::remove(fleet.MaskedBlobs().at(0)));
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 0u);
  EXPECT_EQ(SurvivorsOf(fleet), 5u);
}

// Not damaged, as far as anybody knows: the next start tries again.
TEST(MaskedRestartTest, A28AVectorThatCannotBeReadStopsTheServer) {
  MaskedFleet fleet(0);
  fleet.StopIn(kInput, kFour);
  fleet.server.CloseFiles();
  const std::string path = fleet.MaskedBlobs().at(0);
  fs::rename(path, path + ".away");
  ASSERT_TRUE(fs::create_directory(path));
  EXPECT_FALSE(fleet.Restart());
  fleet.server.CloseFiles();
  fs::remove(path);
  fs::rename(path + ".away", path);
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(SurvivorsOf(fleet), 6u);
}

// Killed after the transaction that made them unneeded.
TEST(MaskedRestartTest, A26AKillBeforeVectorsAreRemovedLeavesNone) {
  MaskedFleet fleet(0);
  {
    FileFaults faults({.directory = fleet.server.directory(),
                       .kind = Kind::kKill,
                       .at = 0,
                       .calls = {"unlink"}});
    fleet.faults = &faults;
    fleet.Submit();
    EXPECT_FALSE(fleet.Run());
    ASSERT_TRUE(faults.killed());
    EXPECT_THAT(fleet.MaskedBlobs(), ::testing::SizeIs(6));
    fleet.server.CloseFiles();
    fleet.faults = nullptr;
  }
  EXPECT_EQ(fleet.Finish(), "");
}

// --- who has contributed

TEST(MaskedRestartTest, A12NobodyIsSpentInTheNextRound) {
  MaskedFleet fleet(0);
  fleet.Submit();
  ASSERT_TRUE(
      fleet.RunUntil([&] { return fleet.status().rounds_done() == 1; }));
  fleet.server.CloseFiles();
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 0u);
}

// Asked for input, started again, then failed: each is spent once.
TEST(MaskedRestartTest, A12ARestartSpendsNobodyTwice) {
  MaskedFleet fleet(0);
  fleet.StopIn(kInput, kFour);
  fleet.server.CloseFiles();
  ASSERT_TRUE(fleet.Restart());
  ASSERT_TRUE(fleet.RunUntil([&] { return fleet.Phase() == kSurvivors; }));
  fleet.server.CloseFiles();
  FlipByte(fleet.MaskedBlobs().at(0), 7, 3);
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 1u);
}

// --- devices

TEST(MaskedRestartTest, A27ADeviceThatDoesNotComeBackIsLost) {
  MaskedFleet fleet(0);
  fleet.StopIn(kInput, 0);
  const auto gone = std::ranges::find_if(fleet.devices, [](const auto& device) {
    return device->sessions.empty() ||
           device->sessions.begin()->second.masked.empty();
  });
  ASSERT_NE(gone, fleet.devices.end());
  (*gone)->left = true;
  (*gone)->Kill();
  fleet.server.CloseFiles();
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(SurvivorsOf(fleet), 5u);
  EXPECT_TRUE(fleet.server.HasEvent(fleet.run_id,
                                    (*gone)->id() + " lost while masking"));
}

// A proof leads to the root of its own roster only.
TEST(MaskedRestartTest, A13KeysUnderAnotherRosterThanTheManifestsAreRefused) {
  MaskedFleet fleet(0);
  fleet.Submit();
  ASSERT_TRUE(fleet.RunUntil([&] {
    return std::ranges::any_of(
        fleet.devices[0]->channel().messages,
        [](const auto& message) { return message.has_assignment(); });
  }));
  // It sends its keys, which the server never sees: it sends them again.
  while (fleet.devices[0]->random.given.empty()) {
    ASSERT_TRUE(fleet.devices[0]->Work());
  }
  fleet.server.CloseFiles();
  fleet.server.clock().Advance(absl::Seconds(1));
  fleet.MakeRoster();
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_TRUE(
      fleet.server.HasEvent(fleet.run_id, "refused: the roster changed"));
  EXPECT_EQ(fleet.overrides, 0u);
}

TEST(MaskedRestartTest, FewerSurvivorsThanTheQuorumCommitNothing) {
  // One is lost before its upload: five of six are enough to unmask.
  MaskedFleet fleet(1, {.quorum = 6});
  fleet.Submit();
  ASSERT_TRUE(fleet.Run());
  EXPECT_EQ(fleet.BrokenInvariant(), "");
  EXPECT_TRUE(fleet.server.HasEvent(fleet.run_id, "5 survivors, 6 wanted"));
  EXPECT_EQ(fleet.overrides, 1u);
  EXPECT_EQ(SurvivorsOf(fleet), 6u);
}

}  // namespace
}  // namespace edgetune
