// The real coordinator against members whose shares are wrong: it names them,
// corrects what can be corrected, and never makes a wrong sum.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/privacy_secagg/bend.h"
#include "tests/privacy_secagg/fleet_of_size.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using Message = v1::SecAggClientMessage;

// ---- A15: shares that cannot be opened

// Member `liar` seals something else for member `victim`.
void SealGarbage(Harness& session, uint32_t liar, uint32_t victim) {
  session.to_server = [&session, liar, victim](uint32_t index, Message& m) {
    if (index != liar || !m.has_shares()) return true;
    const int at = static_cast<int>(victim < liar ? victim : victim - 1);
    m.mutable_shares()->mutable_ciphertexts(at)->back() ^= 1;
    SignMessage(session, index, m);
    return true;
  };
}

TEST(SecAggServerTest, A15ABadCiphertextEndsTheAttemptAndNamesBoth) {
  Harness session(FleetOf(10), Sized(10, 4, 1));
  SealGarbage(session, 7, 2);
  session.Run();
  EXPECT_EQ(session.code(), v1::BAD_SHARE);
  EXPECT_THAT(session.blames, ElementsAre(Pair(2, 7)));
  for (const Harness::Client& client : session.clients) {
    EXPECT_EQ(client.spends, 0);
    EXPECT_EQ(client.aborted, v1::BAD_SHARE);
  }
  // The next attempt, without the two.
  Harness again(FleetOf(10), Sized(10, 4, 2));
  again.clients[2].stop = again.clients[7].stop = Stage::kR0;
  again.Run();
  EXPECT_TRUE(again.Committed());
}

// One that complains about everybody is in every pair.
TEST(SecAggServerTest, A15EveryComplaintIsCollected) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [&](uint32_t index, Message& m) {
    if (!m.has_ack()) return true;
    if (index == 0) m.mutable_ack()->add_bad(3);
    if (index == 2) {
      m.mutable_ack()->add_bad(0);
      m.mutable_ack()->add_bad(4);
    }
    SignMessage(session, index, m);
    return true;
  };
  session.Run();
  EXPECT_EQ(session.code(), v1::BAD_SHARE);
  EXPECT_THAT(session.blames, ElementsAre(Pair(0, 3), Pair(2, 0), Pair(2, 4)));
}

// ---- A16: shares that are wrong

// One wrong share: `holder` about `dealer`.
using Wrong = std::set<std::pair<uint32_t, uint32_t>>;

void LieAboutShares(Harness& session, const Wrong& wrong) {
  session.to_server = [&session, wrong](uint32_t index, Message& m) {
    if (!m.has_unmask()) return true;
    for (auto* shares : {m.mutable_unmask()->mutable_b_shares(),
                         m.mutable_unmask()->mutable_s_shares()}) {
      for (v1::IndexedShare& share : *shares) {
        if (!wrong.contains({index, share.index()})) continue;
        // Another error for each liar: equal ones can cancel out.
        share.mutable_share()->at(4) ^= static_cast<char>(index + 1);
      }
    }
    SignMessage(session, index, m);
    return true;
  };
}

// As the coordinator names them: (dealer, holder).
std::set<std::pair<uint32_t, uint32_t>> Swapped(const Wrong& wrong) {
  std::set<std::pair<uint32_t, uint32_t>> pairs;
  for (const auto& [holder, dealer] : wrong) pairs.insert({dealer, holder});
  return pairs;
}

TEST(SecAggServerTest, A16AWrongSeedShareIsCorrectedAndNamed) {
  Harness session(FleetOf(10), Sized(10, 4, 3));
  LieAboutShares(session, {{0, 5}});
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_EQ(session.BrokenInvariant(), "");
  EXPECT_THAT(session.blames, ElementsAre(Pair(5, 0)));
}

TEST(SecAggServerTest, A16AWrongShareOfADroppedMembersKeyIsCorrected) {
  Harness session(FleetOf(10), Sized(10, 4, 4));
  session.clients[5].stop = Stage::kR3;
  LieAboutShares(session, {{0, 5}});
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_EQ(session.BrokenInvariant(), "");
  EXPECT_THAT(session.blames, ElementsAre(Pair(5, 0)));
}

// X25519 ignores the lowest three bits of a key, so this lie about a dropped
// member's key leads to one that works. Its teller must be named, not those
// whose shares then do not fit. With t = 7 the points 1 to 7 and 0 are a group
// of which every polynomial of degree 6 sums to 0, so the weights are 1.
TEST(SecAggServerTest, A16ALieThatX25519IgnoresIsNamedToo) {
  Harness session(FleetOf(10), Sized(10, 4, 9));
  session.clients[8].stop = Stage::kR3;
  session.to_server = [&](uint32_t index, Message& m) {
    if (index != 4 || !m.has_unmask()) return true;
    m.mutable_unmask()->mutable_s_shares(0)->mutable_share()->at(0) ^= 1;
    SignMessage(session, index, m);
    return true;
  };
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_EQ(session.BrokenInvariant(), "");
  EXPECT_THAT(session.blames, ElementsAre(Pair(8, 4)));
}

// Nobody needs the share of the last member; it is found all the same.
TEST(SecAggServerTest, A16AWrongShareThatIsNotNeededIsNamed) {
  Harness session(FleetOf(10), Sized(10, 4, 5));
  LieAboutShares(session, {{9, 5}});
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_THAT(session.blames, ElementsAre(Pair(5, 9)));
}

TEST(SecAggServerTest, A16TooManyWrongSharesEndTheSessionWithoutASum) {
  Harness session(FleetOf(10), Sized(10, 4, 6));
  LieAboutShares(session, {{0, 5}, {1, 5}});
  session.Run();
  EXPECT_EQ(session.code(), v1::RECONSTRUCT);
  EXPECT_THAT(session.sums, IsEmpty());
}

TEST(SecAggServerTest, A16WithoutSpareAnswersOneWrongShareIsTooMany) {
  Harness session(FleetOf(10), Sized(10, 4, 7));
  for (const int i : {7, 8, 9}) session.clients[i].stop = Stage::kR5;
  LieAboutShares(session, {{3, 5}});
  session.Run();
  EXPECT_EQ(session.code(), v1::RECONSTRUCT);
  EXPECT_THAT(session.sums, IsEmpty());
}

TEST(SecAggServerTest, A16NorIsOneOfADroppedMembersKeyCorrected) {
  Harness session(FleetOf(10), Sized(10, 4, 8));
  session.clients[5].stop = Stage::kR3;
  for (const int i : {8, 9}) session.clients[i].stop = Stage::kR5;
  LieAboutShares(session, {{3, 5}});
  session.Run();
  EXPECT_EQ(session.code(), v1::RECONSTRUCT);
  EXPECT_THAT(session.sums, IsEmpty());
}

struct Liars {
  uint32_t n, dropped, liars;
};

// Liars tell wrong shares of some dealers each, any members drop at R3.
Liars RunWithLiars(uint32_t seed, uint32_t extra) {
  SeededRandom random = Seeded(seed + 7000);
  const uint32_t n = 10 + 3 * (NextWord(random) % 3);
  const uint32_t dropped = NextWord(random) % 2;
  const uint32_t liars = (n - dropped - SecAggThreshold(n)) / 2 + extra;
  Harness session(FleetOf(n), Sized(n, 4, seed));
  std::vector<uint32_t> members(n);
  std::iota(members.begin(), members.end(), 0);
  for (uint32_t i = n - 1; i > 0; --i) {
    std::swap(members[i], members[NextWord(random) % (i + 1)]);
  }
  if (dropped == 1) session.clients[members[n - 1]].stop = Stage::kR3;
  Wrong wrong;
  for (uint32_t i = 0; i < liars; ++i) {
    for (uint32_t k = 0; k < 1 + NextWord(random) % n; ++k) {
      wrong.insert({members[i], NextWord(random) % n});
    }
  }
  LieAboutShares(session, wrong);
  session.Run();
  EXPECT_EQ(session.BrokenInvariant(), "") << seed;
  const std::set<std::pair<uint32_t, uint32_t>> named(session.blames.begin(),
                                                      session.blames.end());
  if (session.Committed()) {
    // Beyond what can be corrected, lies that do no harm are not named.
    if (extra == 0) {
      EXPECT_EQ(named, Swapped(wrong)) << seed;
    }
  } else {
    EXPECT_EQ(session.code(), v1::RECONSTRUCT) << seed;
    EXPECT_GT(extra, 0u) << seed;
    EXPECT_THAT(session.sums, IsEmpty());
  }
  return {n, dropped, session.Committed() ? 0 : liars};
}

TEST(SecAggServerTest, A16AsManyLiarsAsCanBeCorrectedSpoilNothing) {
  for (uint32_t seed = 1; seed <= Runs(60, 1000); ++seed) RunWithLiars(seed, 0);
}

TEST(SecAggServerTest, A16MoreLiarsNeverLeadToAWrongSum) {
  size_t ended = 0;
  const size_t runs = Runs(60, 1000);
  for (uint32_t seed = 1; seed <= runs; ++seed) {
    ended += RunWithLiars(seed, 1 + seed % 3).liars > 0 ? 1 : 0;
  }
  EXPECT_GT(ended, runs / 4);
}

}  // namespace
}  // namespace edgetune::secagg
