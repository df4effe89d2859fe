#include "aggregation/combine_rule.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregation/weighted_updates.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using testing::Accumulated;
using ::testing::HasSubstr;
using testing::kInf;
using testing::kNaN;
using testing::Update;

// 11 updates, two of which may lie: enough for every rule (4f + 3).
constexpr size_t kUpdates = 11;
constexpr size_t kLiars = 2;

const CombineRule kRules[] = {CombineRule::kMean,
                              CombineRule::kNormBound,
                              CombineRule::kTrimmedMean,
                              CombineRule::kMedian,
                              CombineRule::kGeometricMedian,
                              CombineRule::kKrum,
                              CombineRule::kMultiKrum,
                              CombineRule::kBulyan};

// Those that look past liars altogether.
const CombineRule kRobust[] = {CombineRule::kTrimmedMean, CombineRule::kMedian,
                               CombineRule::kKrum, CombineRule::kMultiKrum,
                               CombineRule::kBulyan};

CombineOptions Options(CombineRule rule, size_t coordinates,
                       double bound = 64) {
  return {.rule = rule,
          .limits = {.coordinates = coordinates,
                     .bound = bound,
                     .weight_cap = 16384,
                     .max_updates = 64},
          .trim = 0.2,  // two of 11 at each end
          .byzantine = kLiars,
          .norm_bound = 3};
}

std::vector<Update> Honest(size_t count, size_t coordinates, uint64_t seed) {
  Random random(seed);
  std::vector<Update> updates(count);
  for (Update& update : updates) {
    update.weight = static_cast<double>(1 + random.Below(1000));
    for (size_t i = 0; i < coordinates; ++i) {
      update.values.push_back(static_cast<float>(random.Normal()));
    }
  }
  return updates;
}

std::unique_ptr<Aggregator> Fold(const CombineOptions& options,
                                 std::span<const Update> updates) {
  return Accumulated(MakeAggregator(options).value(), updates);
}

// 0 and -0 are different bits.
void ExpectSameBits(const Aggregator::Result& a, const Aggregator::Result& b,
                    CombineRule rule) {
  EXPECT_EQ(SerializeParameters(a.mean), SerializeParameters(b.mean))
      << CombineRuleName(rule);
  EXPECT_EQ(a.weight_sum, b.weight_sum);
  EXPECT_EQ(a.updates, b.updates);
}

// With ties: some updates twice, with other weights, and zeros of both signs.
std::vector<Update> Tied(uint64_t seed) {
  std::vector<Update> updates = Honest(kUpdates, 37, seed);
  for (size_t k : {1, 2}) {
    updates[k + 2].values = updates[k].values;
    updates[k].values[5] = 0.0f;
    updates[k + 2].values[5] = -0.0f;
  }
  for (Update& update : updates) {
    update.values[6] = update.weight > 500 ? 0.0f : -0.0f;
  }
  return updates;
}

TEST(CombineRuleTest, NoRuleDependsOnTheOrderOfUpdates) {
  for (const CombineRule rule : kRules) {
    std::vector<Update> updates = Tied(3);
    const auto first = Fold(Options(rule, 37), updates)->Finish();
    ASSERT_TRUE(first.ok()) << first.status();
    Random random(11);
    for (int trial = 0; trial < 10; ++trial) {
      random.Shuffle(updates);
      ExpectSameBits(*Fold(Options(rule, 37), updates)->Finish(), *first, rule);
    }
  }
}

TEST(CombineRuleTest, NoRuleDependsOnHowUpdatesAreSharded) {
  const std::vector<Update> updates = Tied(4);
  const std::span<const Update> all(updates);
  for (const CombineRule rule : kRules) {
    const auto whole = Fold(Options(rule, 37), all)->Finish();
    for (size_t cut : {0, 1, 5, 11}) {
      auto left = Fold(Options(rule, 37), all.subspan(cut));
      const auto right = Fold(Options(rule, 37), all.first(cut));
      ASSERT_TRUE(left->Merge(*right).ok());
      ExpectSameBits(*left->Finish(), *whole, rule);
    }
  }
}

TEST(CombineRuleTest, AnAggregatorMergedWithItselfHoldsEachUpdateTwice) {
  const std::vector<Update> updates = Tied(5);
  std::vector<Update> twice = updates;
  twice.insert(twice.end(), updates.begin(), updates.end());
  for (const CombineRule rule : kRules) {
    auto once = Fold(Options(rule, 37), updates);
    ASSERT_TRUE(once->Merge(*once).ok());
    ExpectSameBits(*once->Finish(), *Fold(Options(rule, 37), twice)->Finish(),
                   rule);
  }
}

// Smallest and largest honest value of each coordinate.
void ExpectWithinHonest(const ParameterVector& result,
                        std::span<const Update> honest, CombineRule rule) {
  for (size_t i = 0; i < result.size(); ++i) {
    const auto [low, high] = std::minmax_element(
        honest.begin(), honest.end(), [i](const Update& a, const Update& b) {
          return a.values[i] < b.values[i];
        });
    EXPECT_GE(result[i], low->values[i]) << CombineRuleName(rule);
    EXPECT_LE(result[i], high->values[i]) << CombineRuleName(rule);
  }
}

// Liars say about the largest thing that the bound allows, all together or
// against each other, and claim the largest weight.
constexpr float kLie = 1e30f;
constexpr double kLooseBound = 1.1e30;

std::vector<Update> WithLiars(std::vector<Update> updates, bool together) {
  for (size_t k = 0; k < kLiars; ++k) {
    const float lie = together || k % 2 == 0 ? kLie : -kLie;
    updates.push_back({ParameterVector(updates[0].values.size(), lie), 16384});
  }
  return updates;
}

TEST(CombineRuleTest, RobustRulesStayWithinTheHonestUpdates) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto honest = Honest(kUpdates - kLiars, 16, seed);
    const auto updates = WithLiars(honest, seed % 2 == 0);
    for (const CombineRule rule : kRobust) {
      const auto result =
          Fold(Options(rule, 16, kLooseBound), updates)->Finish();
      ASSERT_TRUE(result.ok()) << result.status();
      ExpectWithinHonest(result->mean, honest, rule);
    }
    const auto mean = Fold(Options(CombineRule::kMean, 16, kLooseBound),
                           WithLiars(honest, true))
                          ->Finish();
    EXPECT_GT(mean->mean[0], 1e28f);
  }
}

// Minsker 2015, "Geometric median and robust estimation in Banach spaces",
// Lemma 2.1 in a Hilbert space: if all but a share a < 1/2 of the weight is
// within r of a point, the geometric median is within (1 - a) / sqrt(1 - 2a) r
// of it.
TEST(CombineRuleTest, TheGeometricMedianStaysNearTheHonestUpdates) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<Update> updates = Honest(kUpdates - kLiars, 16, seed);
    double radius = 0;  // about the origin
    for (const Update& update : updates) {
      double squares = 0;
      for (const float u : update.values) squares += double{u} * u;
      radius = std::max(radius, std::sqrt(squares));
    }
    updates = WithLiars(std::move(updates), seed % 2 == 0);
    for (Update& update : updates) update.weight = 1;
    const double a = double{kLiars} / kUpdates;
    const auto result =
        Fold(Options(CombineRule::kGeometricMedian, 16, kLooseBound), updates)
            ->Finish();
    double squares = 0;
    for (const float v : result->mean) squares += double{v} * v;
    EXPECT_LE(std::sqrt(squares), (1 - a) / std::sqrt(1 - 2 * a) * radius);
  }
}

// Shares of weight times the bound; 1e-6 for float32.
TEST(CombineRuleTest, NormBoundLimitsWhatAnUpdateCanMove) {
  const auto updates = WithLiars(Honest(kUpdates - kLiars, 16, 1), true);
  const auto result =
      Fold(Options(CombineRule::kNormBound, 16, kLooseBound), updates)
          ->Finish();
  double squares = 0;
  for (const float v : result->mean) squares += double{v} * v;
  EXPECT_LE(std::sqrt(squares), 3 * (1 + 1e-6));
}

TEST(CombineRuleTest, OneUpdateOfMedianRulesIsThatUpdate) {
  const auto one = Honest(1, 8, 2);
  for (const CombineRule rule :
       {CombineRule::kMedian, CombineRule::kGeometricMedian}) {
    EXPECT_EQ(Fold(Options(rule, 8), one)->Finish()->mean, one[0].values);
  }
}

TEST(CombineRuleTest, EveryRuleRefusesTheSameUpdates) {
  const ParameterVector good = {0.1f, -0.2f, 0.3f};
  const std::vector<Update> bad = {{{0, 0}, 1},
                                   {{0, 0, 0, 0}, 1},
                                   {{}, 1},
                                   {{0, kNaN<float>, 0}, 1},
                                   {{0, 0, kInf<float>}, 1},
                                   {{64.01f, 0, 0}, 1},
                                   {good, 0},
                                   {good, -1},
                                   {good, kNaN<double>},
                                   {good, kInf<double>},
                                   {good, 16384.001}};
  const auto honest = Honest(kUpdates, 3, 9);
  for (const CombineRule rule : kRules) {
    auto aggregator = Fold(Options(rule, 3), honest);
    const auto before = aggregator->Finish();
    for (const Update& update : bad) {
      EXPECT_TRUE(absl::IsInvalidArgument(
          aggregator->Accumulate(update.values, update.weight)))
          << CombineRuleName(rule);
    }
    ExpectSameBits(*aggregator->Finish(), *before, rule);
  }
}

TEST(CombineRuleTest, EveryRuleRefusesMoreUpdatesThanPlanned) {
  for (const CombineRule rule : kRules) {
    CombineOptions options = Options(rule, 3);
    options.limits.max_updates = kUpdates;
    auto aggregator = Fold(options, Honest(kUpdates, 3, 9));
    const auto before = aggregator->Finish();
    EXPECT_TRUE(absl::IsFailedPrecondition(
        aggregator->Accumulate(ParameterVector{0, 0, 0}, 1)));
    EXPECT_TRUE(absl::IsFailedPrecondition(
        aggregator->Merge(*Fold(options, Honest(1, 3, 9)))));
    ExpectSameBits(*aggregator->Finish(), *before, rule);
  }
}

TEST(CombineRuleTest, OnlyTheSameRuleAndConfigurationMerge) {
  for (const CombineRule rule : kRules) {
    auto aggregator = MakeAggregator(Options(rule, 3)).value();
    for (const CombineRule other : kRules) {
      const auto theirs = MakeAggregator(Options(other, 3)).value();
      EXPECT_EQ(aggregator->Merge(*theirs).ok(), rule == other);
    }
    CombineOptions longer = Options(rule, 4);
    EXPECT_TRUE(absl::IsInvalidArgument(
        aggregator->Merge(*MakeAggregator(longer).value())));
  }
}

struct Need {
  CombineOptions options;
  int64_t fewest;
};

CombineOptions Robust(CombineRule rule, int64_t f, int64_t kept = 0) {
  CombineOptions options = Options(rule, 2);
  options.byzantine = f;
  options.kept = kept;
  return options;
}

CombineOptions Trimmed(double trim) {
  CombineOptions options = Options(CombineRule::kTrimmedMean, 2);
  options.trim = trim;
  return options;
}

TEST(CombineRuleTest, TooFewUpdatesAreRefusedWithGotAndWanted) {
  for (const Need& need :
       std::vector<Need>{{Robust(CombineRule::kMean, 1), 1},
                         {Robust(CombineRule::kNormBound, 1), 1},
                         {Robust(CombineRule::kMedian, 1), 1},
                         {Robust(CombineRule::kGeometricMedian, 1), 1},
                         {Robust(CombineRule::kKrum, 1), 5},
                         {Robust(CombineRule::kKrum, 4), 11},
                         {Robust(CombineRule::kMultiKrum, 2), 7},
                         {Robust(CombineRule::kMultiKrum, 2, 6), 8},
                         {Robust(CombineRule::kBulyan, 3), 15},
                         {Trimmed(0.1), 10},
                         {Trimmed(0.25), 4},
                         {Trimmed(0.49), 3}}) {
    EXPECT_EQ(FewestUpdates(need.options), need.fewest);
    auto updates = Honest(static_cast<size_t>(need.fewest), 2, 1);
    EXPECT_TRUE(Fold(need.options, updates)->Finish().ok());
    updates.pop_back();
    const auto refused = Fold(need.options, updates)->Finish().status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused));
    if (need.fewest == 1) continue;
    EXPECT_THAT(std::string(refused.message()),
                HasSubstr(std::to_string(need.fewest - 1) + " updates"));
    EXPECT_THAT(std::string(refused.message()),
                HasSubstr("at least " + std::to_string(need.fewest)));
  }
}

TEST(CombineRuleTest, RefusesImpossibleOptions) {
  for (auto change : {+[](CombineOptions& o) { o.limits.coordinates = 0; },
                      +[](CombineOptions& o) { o.limits.max_updates = 0; },
                      +[](CombineOptions& o) { o.limits.bound = kNaN<float>; },
                      +[](CombineOptions& o) { o.limits.weight_cap = 0; },
                      +[](CombineOptions& o) { o.byzantine = -1; },
                      +[](CombineOptions& o) { o.kept = -1; }}) {
    for (const CombineRule rule : kRules) {
      CombineOptions options = Options(rule, 3);
      change(options);
      EXPECT_TRUE(absl::IsInvalidArgument(MakeAggregator(options).status()));
    }
  }
  for (double trim : {0.0, -0.1, 0.5, kNaN<double>}) {
    EXPECT_FALSE(MakeAggregator(Trimmed(trim)).ok()) << trim;
  }
  for (double bound : {0.0, -1.0, kInf<double>, kNaN<double>}) {
    CombineOptions options = Options(CombineRule::kNormBound, 3);
    options.norm_bound = bound;
    EXPECT_FALSE(MakeAggregator(options).ok()) << bound;
  }
}

TEST(CombineRuleTest, NamesAreReadAsTheyAreWritten) {
  for (const CombineRule rule : kRules) {
    EXPECT_EQ(ParseCombineRule(CombineRuleName(rule)).value(), rule);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseCombineRule("best").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseCombineRule("").status()));
}

}  // namespace
}  // namespace edgetune
