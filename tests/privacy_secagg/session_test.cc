// Sessions whose parties are honest: what the sum is, whoever vanishes.

#include <gmock/gmock.h>

#include <cmath>

#include "privacy/secagg/encoding.h"
#include "tests/privacy_secagg/harness.h"

namespace edgetune::secagg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const Fleet& FleetOf(uint32_t n) {
  static auto* fleets = new std::map<uint32_t, Fleet>();
  return fleets->try_emplace(n, Fleet::Options{.size = n}).first->second;
}

Harness::Options Sized(uint32_t n, size_t coordinates, uint32_t seed) {
  Harness::Options options;
  options.n = n;
  options.shape = ShapeWithLanes(32, n, coordinates);
  options.seed = seed;
  return options;
}

TEST(SecAggSessionTest, A1TheSumIsExactWithoutDrops) {
  for (const uint32_t n : {4u, 8u, 10u, 16u}) {
    for (uint32_t seed = 1; seed <= Runs(50, 250); ++seed) {
      Harness session(FleetOf(n), Sized(n, 50, seed));
      session.Run();
      ASSERT_TRUE(session.Committed()) << n << " " << seed << " " << session.code();
      EXPECT_EQ(session.sums.front(), session.PlainSum(std::vector<bool>(n, true)));
      EXPECT_EQ(session.BrokenInvariant(), "");
    }
  }
}

}  // namespace
}  // namespace edgetune::secagg
