// A10 over the wire: ten members, t = 7, three of them collude with the
// coordinator. It shows some of the honest seven that everybody survived, the
// others that a target did not, and has the colluders sign both. It may never
// hold t shares of both kinds of the target. tests/privacy_secagg plays every
// split without the wire.

#include <gtest/gtest.h>

#include "privacy/secagg/encoding.h"
#include "tests/secagg/lying_coordinator.h"

namespace edgetune {
namespace {

using testing::kVictim;
using testing::LyingCoordinator;
using Body = LyingCoordinator::Body;
using Pass = LyingCoordinator::Pass;

constexpr uint32_t kMembers = 10, kHonest = 7, kThreshold = 7;
constexpr uint32_t kTarget = 0;

// Which honest members see that the target dropped.
using Split = std::set<uint32_t>;

class SplitViews {
 public:
  explicit SplitViews(Split split) : split_(std::move(split)) {}

  // Shares of the target that the coordinator has, its colluders' included.
  struct Loot {
    size_t b = 0, s = 0;
  };
  Loot Steal() {
    world_.to_member = [this](uint32_t index, v1::SecAggServerMessage& m) {
      if (m.has_freeze()) world_.SignFreeze(*m.mutable_freeze(), ViewOf(index));
      return true;
    };
    world_.to_server = [this](uint32_t index, Body& message) {
      return Take(index, message);
    };
    world_.stop = [](const Body& message) { return message.has_unmask(); };
    world_.MakeClient().Start();
    fate_ = world_.Play();
    constexpr size_t kColluders = kMembers - kHonest;
    return {CountOf(world_.b_shares) + kColluders,
            CountOf(world_.s_shares) + kColluders};
  }
  const LyingCoordinator::Fate& fate() const { return fate_; }

 private:
  std::vector<bool> ViewOf(uint32_t index) const {
    std::vector<bool> view(kMembers, true);
    view[kTarget] = !split_.contains(index);
    return view;
  }

  // Collects what honest members sign; when the last one has, everybody is
  // shown all signatures over its own view.
  Pass Take(uint32_t index, Body& message) {
    if (message.has_unmask()) return Pass::kSwallow;
    if (!message.has_survivors()) return Pass::kOn;
    signatures_[index] = message.survivors().signature();
    if (signatures_.size() < kMembers) return Pass::kSwallow;
    for (uint32_t member = 0; member < kHonest; ++member) AskToUnmask(member);
    return Pass::kSwallow;
  }

  void AskToUnmask(uint32_t member) {
    v1::SecAggServerMessage message;
    v1::UnmaskRequest& request = *message.mutable_unmask();
    request.set_session(DigestBytes(world_.session()));
    const std::string view = secagg::BitmapOf(ViewOf(member));
    for (uint32_t signer = 0; signer < kMembers; ++signer) {
      if (signer == kTarget && !ViewOf(member)[kTarget]) continue;
      v1::IndexedSignature& entry = *request.add_signatures();
      entry.set_index(signer);
      entry.set_signature(signer < kHonest ? signatures_[signer]
                                           : world_.SurvivorSignature(
                                                 signer, world_.u2(), view));
    }
    world_.Tell(member, message);
  }

  // Honest holders that showed a share of the target.
  static size_t CountOf(const std::map<uint32_t, std::set<uint32_t>>& shares) {
    const auto found = shares.find(kTarget);
    size_t count = 0;
    if (found == shares.end()) return count;
    for (const uint32_t holder : found->second) count += holder < kHonest;
    return count;
  }

  const Split split_;
  LyingCoordinator world_{{.members = kMembers}};
  LyingCoordinator::Fate fate_;
  std::map<uint32_t, std::string> signatures_;
};

TEST(EvilSplitTest, A10NobodySeesTheTargetDropAndOneKindComesOut) {
  SplitViews views({});
  const auto loot = views.Steal();
  EXPECT_EQ(loot.b, kMembers);
  EXPECT_LT(loot.s, kThreshold);
  EXPECT_EQ(views.fate().code, v1::ABORT_UNSPECIFIED);
}

// The real client is among the three: its four colluding and agreeing
// signatures are too few.
TEST(EvilSplitTest, A10AMinorityGetsTooFewSignatures) {
  SplitViews views({kVictim, 2, 3});
  const auto loot = views.Steal();
  EXPECT_LT(loot.s, kThreshold);
  EXPECT_EQ(views.fate().code, v1::TOO_FEW_SIGS);
}

// The real client is among the four and shows what it must: s of the target.
TEST(EvilSplitTest, A10AMajorityShowsOneKindAndTheRestNothing) {
  SplitViews views({kVictim, 2, 3, 4});
  const auto loot = views.Steal();
  EXPECT_LT(loot.b, kThreshold);
  EXPECT_GE(loot.s, kThreshold);
  EXPECT_EQ(views.fate().code, v1::ABORT_UNSPECIFIED);
}

}  // namespace
}  // namespace edgetune
