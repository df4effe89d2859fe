// What members can make the coordinator keep in memory, and what it keeps of
// their shares.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "privacy/secagg/encoding.h"
#include "tests/privacy_secagg/bend.h"
#include "tests/privacy_secagg/memory_search.h"
#include "tests/testing/sanitized.h"

namespace edgetune::secagg {
namespace {

using ::testing::SizeIs;
using Message = v1::SecAggClientMessage;

size_t ResidentMegabytes() {
  std::ifstream statm("/proc/self/statm");
  size_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * 4096 >> 20;
}

// The message itself is the shell's; what it costs the coordinator is nothing.
TEST(SecAggServerMemoryTest, A17AMillionFieldsCostNoMemory) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  Message message;
  message.mutable_shares()->set_session(BytesOf(session.server->session()));
  for (int i = 0; i < 1'000'000; ++i) {
    message.mutable_shares()->add_ciphertexts();
  }
  const size_t before = ResidentMegabytes();
  for (int i = 0; i < 20; ++i) session.Inject(kVictim, message);
  EXPECT_LT(ResidentMegabytes(), before + 16);
  EXPECT_THAT(session.refusals, SizeIs(20));
}

// The same answer as often as its member likes: its shares are kept once.
TEST(SecAggServerMemoryTest, A17AnAnswerThatComesAgainAndAgainCostsNoMemory) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers keep for a while what was freed";
  static const Fleet fleet({.size = 30});
  Harness::Options options = Five();
  options.n = 30;
  options.shape = ShapeWithLanes(20, 30, 4);
  Harness session(fleet, options);
  Message answer;
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != kVictim || !message.has_unmask()) return !message.has_unmask();
    answer = message;
    return true;
  };
  session.Begin();
  while (!answer.has_unmask() || session.server->Awaits(kVictim)) {
    session.Step();
  }
  const size_t before = ResidentMegabytes();
  for (int i = 0; i < 10'000; ++i) session.Inject(kVictim, answer);
  EXPECT_LT(ResidentMegabytes(), before + 16);
}

// A member's answer with one share that nobody else holds: it is wrong, and
// corrected, and the test hands it over without a copy left behind.
TEST(SecAggServerMemoryTest, I5SharesAreGoneFromMemoryAfterUnmasking) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers map more memory than can be searched";
  static const Fleet fleet({.size = 10});
  Harness::Options options = Five();
  options.n = 10;
  options.shape = ShapeWithLanes(20, 10, 4);
  Harness session(fleet, options);
  std::string kept;
  for (int i = 0; i < 32; ++i) kept.push_back(static_cast<char>(7 * i + 1));
  size_t held = 0;
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != kVictim || !message.has_unmask()) return true;
    v1::UnmaskShares& shares = *message.mutable_unmask();
    std::string& share = *shares.mutable_b_shares(3)->mutable_share();
    for (size_t i = 0; i < 32; ++i) {
      share[i] = static_cast<char>(kept[i] ^ kHidden);
    }
    std::string statement =
        UnmaskBytes(session.server->session(),
                    session.fleet.members[session.who()[index]].id, shares);
    shares.set_signature(
        session.fleet.identities[session.who()[index]].Sign(statement).value());
    WipeString(statement);
    session.Inject(index, message);
    WipeString(share);
    held += IsInMemory(kept) ? 1 : 0;
    return false;
  };
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_EQ(held, 1u);
  EXPECT_FALSE(IsInMemory(kept));
}

}  // namespace
}  // namespace edgetune::secagg
