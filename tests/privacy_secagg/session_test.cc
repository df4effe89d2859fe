// Sessions whose parties are honest: what the sum is, whoever vanishes. The
// sums to compare with are plain additions of the inputs (Harness::PlainSum).

#include <gmock/gmock.h>

#include <cmath>

#include "base/units.h"
#include "privacy/secagg/encoding.h"
#include "tests/privacy_secagg/fleet_of_size.h"

namespace edgetune::secagg {
namespace {

using ::testing::SizeIs;

// The sum of everybody, or what went wrong.
std::string RunWithoutDrops(const Harness::Options& options) {
  Harness session(FleetOf(options.n), options);
  session.Run();
  if (!session.Committed()) return "not committed";
  if (session.sums.front() !=
      session.PlainSum(std::vector<bool>(options.n, true))) {
    return "another sum";
  }
  return session.BrokenInvariant();
}

struct Size {
  uint32_t n;
  size_t coordinates, short_runs, long_runs;
};

class SecAggSumTest : public ::testing::TestWithParam<Size> {};

TEST_P(SecAggSumTest, A1TheSumIsExactWithoutDrops) {
  const Size& size = GetParam();
  const size_t runs = Runs(size.short_runs, size.long_runs);
  for (uint32_t seed = 1; seed <= runs; ++seed) {
    EXPECT_EQ(RunWithoutDrops(Sized(size.n, size.coordinates, seed)), "")
        << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, SecAggSumTest,
    ::testing::Values(Size{4, 10'000, 50, 250}, Size{8, 10'000, 50, 250},
                      Size{10, 10'000, 50, 250}, Size{16, 10'000, 50, 250},
                      Size{30, 10'000, 2, 50}, Size{100, 10'000, 1, 50},
                      Size{100, 1'000'000, 0, 1}, Size{300, 10'000, 0, 5}),
    [](const auto& info) {
      return "n" + std::to_string(info.param.n) + "d" +
             std::to_string(info.param.coordinates);
    });

// Chi-square of byte values: 255 degrees of freedom; 330.5 is exceeded with
// probability 0.001 (chi-square tables).
TEST(SecAggSessionTest, A1AMaskedVectorLooksUniform) {
  Harness session(FleetOf(10), Sized(10, 10'000, 7));
  std::string masked;
  session.upload = [&](uint32_t index, std::string& bytes) {
    if (index == 3) masked = bytes;
  };
  session.Run();
  ASSERT_THAT(masked, SizeIs(session.options.shape.byte_size()));
  std::vector<double> counts(256);
  for (const char c : masked) ++counts[static_cast<uint8_t>(c)];
  const double expected = static_cast<double>(masked.size()) / 256;
  double chi_square = 0;
  for (const double count : counts) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 330.5);
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double sum_a = 0, sum_b = 0, ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum_a += a[i];
    sum_b += b[i];
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return (ab - sum_a * sum_b / n) /
         std::sqrt((aa - sum_a * sum_a / n) * (bb - sum_b * sum_b / n));
}

// 0.04 is four standard deviations (1/sqrt(10,000)) of independent vectors;
// the seeds are fixed, and with this one 0.02 holds.
TEST(SecAggSessionTest, A1AMaskedVectorDoesNotFollowItsInput) {
  Harness session(FleetOf(10), Sized(10, 10'000, 7));
  std::vector<double> masked, plain;
  session.upload = [&](uint32_t index, std::string& bytes) {
    if (index != 3) return;
    const auto lanes = UnpackLanes(session.options.shape, ByteSpan(bytes));
    const RingVector& input = session.member(index).input;
    for (size_t i = 5; i < input.size(); ++i) {
      masked.push_back(static_cast<int32_t>((*lanes)[i]));
      plain.push_back(static_cast<int32_t>(input[i]));
    }
  };
  session.Run();
  ASSERT_GT(plain.size(), 9'000u);
  EXPECT_LT(std::abs(Correlation(masked, plain)), 0.02);
}

// Every ring, and lanes whose bits do not fill bytes.
TEST(SecAggSessionTest, A1EveryRingIsExact) {
  for (const uint32_t bits : kRings) {
    Harness::Options options = Sized(5, 7, bits);
    options.shape = ShapeWithLanes(bits, 5, 7);
    options.shape.lanes.pop_back();
    EXPECT_EQ(RunWithoutDrops(options), "") << bits;
  }
}

// What the session ends with if the last `k` members stop at `stage`.
struct Outcome {
  bool committed;
  v1::AbortCode code;
  std::string broken;
  bool operator==(const Outcome&) const = default;
};

Outcome RunWithDrops(const Harness::Options& options,
                     const std::vector<Stage>& stops) {
  Harness session(FleetOf(options.n), options);
  for (size_t i = 0; i < stops.size(); ++i) session.clients[i].stop = stops[i];
  session.Run();
  Outcome outcome{session.Committed(), session.code(),
                  session.BrokenInvariant()};
  if (outcome.committed && !session.batches.empty()) return outcome;
  if (!session.sums.empty()) outcome.broken = "a sum without a commit";
  return outcome;
}

std::vector<Stage> LastStopAt(uint32_t n, uint32_t k, Stage stage) {
  std::vector<Stage> stops(n, Stage::kNever);
  std::fill(stops.end() - k, stops.end(), stage);
  return stops;
}

v1::AbortCode CodeOfTooFew(Stage stage) {
  return stage == Stage::kR4 ? v1::TOO_FEW_SIGS : v1::NOT_ENOUGH;
}

// Whether `k` drops at every stage end as they must.
void ExpectDropsEndRight(uint32_t n, uint32_t k, bool tell_lost) {
  const bool too_many = n - k < SecAggThreshold(n);
  for (int at = 0; at < static_cast<int>(Stage::kNever); ++at) {
    const auto stage = static_cast<Stage>(at);
    Harness::Options options = Sized(n, 6, 20 + k);
    options.tell_lost = tell_lost;
    // Drops at R0 only shrink the cohort.
    const bool aborts = too_many && stage != Stage::kR0;
    const Outcome expected = {
        !aborts, aborts ? CodeOfTooFew(stage) : v1::ABORT_UNSPECIFIED, ""};
    EXPECT_EQ(RunWithDrops(options, LastStopAt(n, k, stage)), expected)
        << "n " << n << " k " << k << " stage " << at;
  }
}

TEST(SecAggSessionTest, A2UpToNMinusTMayVanishAtAnyStage) {
  for (const uint32_t k : {0u, 1u, 2u, 3u}) ExpectDropsEndRight(10, k, true);
}

TEST(SecAggSessionTest, A2TheDeadlineServesWhereNobodyTellsOfALoss) {
  for (const uint32_t k : {1u, 3u, 4u}) ExpectDropsEndRight(10, k, false);
}

TEST(SecAggSessionTest, A2OneMoreEndsTheSessionWithoutASum) {
  ExpectDropsEndRight(10, 4, true);
}

TEST(SecAggSessionTest, A2BelowTheThresholdNothingMoreIsAsked) {
  using Body = v1::SecAggServerMessage;
  const std::pair<Stage, Body::BodyCase> kNext[] = {
      {Stage::kR2, Body::kShares},
      {Stage::kR2b, Body::kOpen},
      {Stage::kR3, Body::kFreeze},
      {Stage::kR4, Body::kUnmask}};
  for (const auto& [stage, next] : kNext) {
    for (const uint32_t k : {3, 4}) {  // t = 7
      Harness::Options options = Sized(10, 6, 20 + k);
      options.tell_lost = false;  // all others have answered when it ends
      Harness session(FleetOf(10), options);
      const std::vector<Stage> stops = LastStopAt(10, k, stage);
      for (size_t i = 0; i < stops.size(); ++i) {
        session.clients[i].stop = stops[i];
      }
      std::set<Body::BodyCase> asked;
      session.to_client = [&](uint32_t, Body& message) {
        asked.insert(message.body_case());
        return true;
      };
      session.Run();
      EXPECT_EQ(asked.contains(next), k == 3) << next;
    }
  }
}

TEST(SecAggSessionTest, A2AHundredMembers) {
  const std::vector<uint32_t> all = {0, 1, 10, 33, 34};
  for (const uint32_t k : Runs(0, 1) == 0 ? std::vector<uint32_t>{33} : all) {
    ExpectDropsEndRight(100, k, true);
  }
}

// The caller learns at once that a cohort below n_min cannot begin.
TEST(SecAggSessionTest, A2ACohortBelowItsSmallestSizeDoesNotBegin) {
  Harness session(FleetOf(5), Sized(5, 6, 1));
  session.clients[0].stop = session.clients[4].stop = Stage::kR0;
  session.Begin();
  EXPECT_FALSE(session.server.has_value());
}

TEST(SecAggSessionTest, A2DropsAtManyStagesAddUp) {
  for (uint32_t seed = 1; seed <= Runs(40, 400); ++seed) {
    SeededRandom random = Seeded(seed);
    Harness::Options options = Sized(10, 6, seed);
    options.tell_lost = seed % 2 == 0;
    std::vector<Stage> stops(10, Stage::kNever);
    for (int k = 0; k < 3; ++k) {
      stops[NextWord(random) % 10] =
          static_cast<Stage>(1 + NextWord(random) % 6);
    }
    const Outcome expected = {true, v1::ABORT_UNSPECIFIED, ""};
    EXPECT_EQ(RunWithDrops(options, stops), expected) << seed;
  }
}

// Each member stays, stops at R3 or stops at R5: 3^n cases.
void ExpectEverySubset(uint32_t n, size_t step) {
  size_t cases = 1;
  for (uint32_t v = 0; v < n; ++v) cases *= 3;
  for (size_t number = 0; number < cases; number += step) {
    std::vector<Stage> stops;
    size_t rest = number, uploads = n, answers = n;
    for (uint32_t v = 0; v < n; ++v, rest /= 3) {
      const Stage choices[] = {Stage::kNever, Stage::kR3, Stage::kR5};
      stops.push_back(choices[rest % 3]);
      uploads -= rest % 3 == 1 ? 1 : 0;
      answers -= rest % 3 != 0 ? 1 : 0;
    }
    const bool enough = answers >= SecAggThreshold(n);
    const Outcome expected = {
        enough, enough ? v1::ABORT_UNSPECIFIED : v1::NOT_ENOUGH, ""};
    EXPECT_EQ(RunWithDrops(Sized(n, 3, 5), stops), expected) << number;
  }
}

TEST(SecAggSessionTest, A3EverySubsetOfFive) { ExpectEverySubset(5, kShorter); }

TEST(SecAggSessionTest, A3EverySubsetOfSeven) {
  ExpectEverySubset(7, Runs(0, 1) == 0 ? 7 * kShorter : 1);
}

TEST(SecAggSessionTest, A4AnInputAfterTheFreezeIsLateAndNotInTheSum) {
  Harness session(FleetOf(10), Sized(10, 6, 3));
  v1::SecAggClientMessage held;
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index == 2 && message.has_input()) {
      held = message;
      return false;
    }
    if (message.has_survivors() && held.has_input()) {
      session.Inject(2, std::exchange(held, {}));
    }
    return true;
  };
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_EQ(session.late, 1);
  EXPECT_FALSE(session.server->survivors()[2]);
  EXPECT_EQ(session.BrokenInvariant(), "");
}

Harness::Options Stormy(uint32_t seed) {
  SeededRandom random = Seeded(seed + 1'000'000);
  const uint32_t n = 4 + NextWord(random) % 6;
  Harness::Options options = Sized(n, 5, seed);
  options.delay = absl::Seconds(2 + NextWord(random) % 12);
  options.duplicates = 64;
  options.tell_lost = NextWord(random) % 2 == 0;
  if (NextWord(random) % 3 == 0) {
    options.death_batch = 1 + NextWord(random) % (5 * n);
    options.death = static_cast<Harness::Death>(NextWord(random) % 3);
  }
  return options;
}

// One session in a storm: everything about it, or what it broke.
std::string HistoryOf(uint32_t seed) {
  const Harness::Options options = Stormy(seed);
  Harness session(FleetOf(options.n), options);
  SeededRandom random = Seeded(seed + 2'000'000);
  for (Harness::Client& client : session.clients) {
    const uint32_t stage = 1 + NextWord(random) % 30;
    client.stop = static_cast<Stage>(std::min(stage, 7u));
  }
  session.Run();
  const std::string broken = session.BrokenInvariant();
  if (!broken.empty()) return "broken: " + broken;
  for (const Harness::Client& client : session.clients) {
    if (client.aborted && *client.aborted != session.code()) {
      return "broken: an honest client aborted by itself: " + client.detail;
    }
  }
  return ToHex(session.transcript) + (session.Committed() ? " sum" : " none");
}

TEST(SecAggSessionTest, A5StormsBreakNoInvariantAndRepeat) {
  size_t committed = 0;
  const size_t runs = Runs(300, 10'000);
  for (uint32_t seed = 1; seed <= runs; ++seed) {
    const std::string history = HistoryOf(seed);
    EXPECT_THAT(history, ::testing::Not(::testing::HasSubstr("broken")))
        << seed;
    committed += history.ends_with("sum") ? 1 : 0;
    if (seed % 10 == 0) {
      EXPECT_EQ(HistoryOf(seed), history) << seed;
    }
  }
  // Else the storm is so strong that it tests nothing.
  EXPECT_GT(committed, runs / 5);
  EXPECT_LT(committed, runs);
}

// Changes a few bytes of a message on its way, if they still make one.
template <typename Message>
void Garble(Message& message, RandomSource& random) {
  std::string bytes = message.SerializeAsString();
  for (uint32_t i = 0; i <= NextWord(random) % 3; ++i) {
    const size_t at = NextWord(random) % bytes.size();
    if (NextWord(random) % 4 == 0) {
      bytes.erase(at, 1);
    } else {
      bytes[at] = static_cast<char>(NextWord(random));
    }
    if (bytes.empty()) return;
  }
  Message garbled;
  if (garbled.ParseFromString(bytes)) message = garbled;
}

// Whatever arrives, nobody crashes and no sum is wrong.
TEST(SecAggSessionTest, A17GarbledMessagesDoNoHarm) {
  size_t committed = 0;
  const size_t runs = Runs(300, 10'000);
  for (uint32_t seed = 1; seed <= runs; ++seed) {
    Harness session(FleetOf(6), Sized(6, 4, seed));
    SeededRandom random = Seeded(seed + 3'000'000);
    session.to_client = [&](uint32_t, v1::SecAggServerMessage& message) {
      if (NextWord(random) % 50 == 0) Garble(message, random);
      return true;
    };
    session.to_server = [&](uint32_t, v1::SecAggClientMessage& message) {
      if (NextWord(random) % 50 == 0) Garble(message, random);
      return true;
    };
    session.Run();
    EXPECT_EQ(session.BrokenInvariant(), "") << seed;
    committed += session.Committed() ? 1 : 0;
  }
  EXPECT_GT(committed, runs / 5);
  EXPECT_LT(committed, runs);
}

}  // namespace
}  // namespace edgetune::secagg
