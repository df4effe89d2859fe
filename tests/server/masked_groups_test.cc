// Cohorts that are cut into several masking sessions, one of which ends before
// the others, or otherwise than they.

#include <gmock/gmock.h>

#include "base/status.h"
#include "tests/server/masked_fleet.h"

namespace edgetune {
namespace {

using ::testing::SizeIs;

// Members of each session of the first round that got as far as R3.
std::map<std::string, std::vector<MaskedDevice*>> Groups(MaskedFleet& fleet) {
  std::map<std::string, std::vector<MaskedDevice*>> groups;
  for (const auto& device : fleet.devices) {
    for (const auto& [session, record] : device->sessions) {
      if (record.id.round == 0) groups[session].push_back(device.get());
    }
  }
  return groups;
}

bool HasAnswered(MaskedDevice* device, const std::string& session) {
  return !device->sessions.at(session).unmask_answers.empty();
}

// Two groups, of five and four.
MaskedFleet::Options Two() { return {.devices = 9, .group = 8}; }

TEST(MaskedGroupsTest, TheSumsOfGroupsAreAdded) {
  MaskedFleet fleet(0, Two());
  fleet.Submit();
  ASSERT_TRUE(fleet.Run());
  EXPECT_EQ(fleet.BrokenInvariant(), "");
  const v1::RoundReceipt receipt = fleet.Receipts()[0];
  EXPECT_THAT(receipt.groups(), SizeIs(2));
  EXPECT_EQ(receipt.survivors(), 9u);
}

// The sum of the group that was done died with the process.
TEST(MaskedGroupsTest, A26ARestartBetweenTwoGroupsUnmasksBothAgain) {
  MaskedFleet fleet(0, Two());
  fleet.Submit();
  ASSERT_TRUE(fleet.RunUntil([&] {
    int answered = 0;
    for (const auto& [session, members] : Groups(fleet)) {
      answered += std::ranges::all_of(members, [&](MaskedDevice* member) {
        return members.size() >= 4 && HasAnswered(member, session);
      });
    }
    return answered == 1;
  }));
  ASSERT_THAT(Groups(fleet), SizeIs(2));
  ASSERT_EQ(fleet.status().rounds_done(), 0u);
  fleet.server.CloseFiles();
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_EQ(fleet.overrides, 0u);
  EXPECT_THAT(fleet.Receipts()[0].groups(), SizeIs(2));
}

// Its devices come back to a session that is no more.
TEST(MaskedGroupsTest, A28AGroupThatCannotBeRestoredEndsAlone) {
  MaskedFleet fleet(0, Two());
  fleet.StopIn(MaskedFleet::kPhases[2], 3);
  fleet.server.CloseFiles();
  fleet.Change(
      "DELETE FROM secagg_records WHERE grp = 0 AND kind = 1 AND phase = 1");
  EXPECT_EQ(fleet.Finish(), "");
  EXPECT_TRUE(fleet.server.HasEvent(fleet.run_id, "cannot be restored"));
  // The other group is fewer than the quorum.
  EXPECT_EQ(fleet.overrides, 1u);
}

// Four groups of seven; three members of one are gone before they sign.
TEST(MaskedGroupsTest, AGroupThatFailsIsInNeitherSumNorReceipt) {
  MaskedFleet fleet(0, {.devices = 28, .group = 8});
  bool chosen = false;
  fleet.Submit();
  ASSERT_TRUE(fleet.RunUntil([&] {
    for (const auto& [session, members] : Groups(fleet)) {
      if (chosen || members.size() < 3) continue;
      chosen = true;
      for (MaskedDevice* member : members) {
        member->leaves = Leaves::kBeforeSignature;
      }
    }
    return fleet.status().rounds_done() == 1;
  }));
  const v1::RoundReceipt receipt = fleet.Receipts()[0];
  EXPECT_THAT(receipt.groups(), SizeIs(3));
  EXPECT_EQ(receipt.survivors(), 21u);
  ASSERT_TRUE(fleet.Run());
  EXPECT_EQ(fleet.BrokenInvariant(), "");
  EXPECT_EQ(fleet.overrides, 0u);
}

}  // namespace
}  // namespace edgetune
