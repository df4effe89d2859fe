#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "aggregation/aggregator.h"
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

WeightedMeanOptions Options(size_t coordinates, int64_t max_updates = 1024) {
  return {.coordinates = coordinates,
          .bound = 64,
          .weight_cap = 16384,
          .max_updates = max_updates};
}

std::vector<Update> RandomUpdates(size_t count, size_t coordinates) {
  Random random(7);
  std::vector<Update> updates(count);
  for (Update& update : updates) {
    update.weight = static_cast<double>(1 + random.Below(16384));
    for (size_t i = 0; i < coordinates; ++i) {
      update.values.push_back(static_cast<float>(0.01 * random.Normal()));
    }
  }
  return updates;
}

std::unique_ptr<Aggregator> Fold(const WeightedMeanOptions& options,
                                 std::span<const Update> updates) {
  return Accumulated(MakeWeightedMean(options).value(), updates);
}

// Expected values from numpy, float64: (w[:,None]*u).sum(0)/w.sum().
TEST(WeightedMeanTest, AveragesFourUnequalClientsAsNumpyDoes) {
  const std::vector<Update> updates = {{{0.5f, -0.25f, 1e-4f, 3.0f}, 30},
                                       {{0.1f, 0.2f, -0.3f, -2.5f}, 7},
                                       {{-1.0f, 0.05f, 2e-3f, 0.0f}, 1201},
                                       {{0.25f, -0.75f, 0.125f, 60.0f}, 16384}};
  const auto result = Fold(Options(4), updates)->Finish();
  ASSERT_TRUE(result.ok());
  const double expected[] = {0.16517421405121047, -0.6942486663877155,
                             0.11623567132167555, 55.78892861196232};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(result->mean[i], expected[i], 1e-6 * std::fabs(expected[i]));
  }
  EXPECT_NEAR(result->weight_sum, 17622, 1e-9);
  EXPECT_EQ(result->updates, 4);
}

// 1e-6 relative also where all weights are tiny beside the cap and coordinates
// tiny beside the bound; max_updates is the cohort, as the server sets it.
TEST(WeightedMeanTest, KeepsPrecisionForSmallWeightsAndCoordinates) {
  std::vector<Update> updates = RandomUpdates(4, 1000);
  const double weights[] = {30, 31, 7, 1};
  for (size_t k = 0; k < 4; ++k) {
    updates[k].weight = weights[k];
    for (float& u : updates[k].values) u *= 0.01f;
  }
  const auto result = Fold(Options(1000, 4), updates)->Finish();
  ASSERT_TRUE(result.ok());
  for (size_t i = 0; i < 1000; ++i) {
    double sum = 0, magnitude = 0;
    for (const Update& update : updates) {
      sum += update.weight * update.values[i] / 69;
      magnitude += update.weight * std::fabs(update.values[i]) / 69;
    }
    EXPECT_NEAR(result->mean[i], sum, 1e-6 * magnitude);
  }
}

TEST(WeightedMeanTest, GivesOneClientItsOwnUpdateBack) {
  const std::vector<Update> one = {{{0.125f, -1e-3f, 63.0f, 0.0f}, 30}};
  const auto result = Fold(Options(4, 1), one)->Finish();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->mean, one[0].values);
}

TEST(WeightedMeanTest, DoesNotDependOnTheOrderOfUpdates) {
  std::vector<Update> updates = RandomUpdates(40, 257);
  const auto first = Fold(Options(257), updates)->Finish();
  Random random(11);
  for (int trial = 0; trial < 10; ++trial) {
    random.Shuffle(updates);
    const auto again = Fold(Options(257), updates)->Finish();
    EXPECT_EQ(again->mean, first->mean);
    EXPECT_EQ(again->weight_sum, first->weight_sum);
  }
}

TEST(WeightedMeanTest, DoesNotDependOnHowUpdatesAreSharded) {
  const std::vector<Update> updates = RandomUpdates(40, 257);
  const std::span<const Update> all(updates);
  const auto whole = Fold(Options(257), all)->Finish();
  for (size_t cut : {0, 1, 13, 40}) {
    auto left = Fold(Options(257), all.first(cut));
    const auto right = Fold(Options(257), all.subspan(cut));
    ASSERT_TRUE(left->Merge(*right).ok());
    const auto merged = left->Finish();
    EXPECT_EQ(merged->mean, whole->mean);
    EXPECT_EQ(merged->weight_sum, whole->weight_sum);
    EXPECT_EQ(merged->updates, 40);
  }
}

TEST(WeightedMeanTest, HoldsTheLargestSumsItPromises) {
  constexpr int64_t kUpdates = 100;
  auto mean = MakeWeightedMean(Options(2, kUpdates)).value();
  for (int64_t i = 0; i < kUpdates; ++i) {
    ASSERT_TRUE(mean->Accumulate(ParameterVector{64.0f, -64.0f}, 16384).ok());
  }
  EXPECT_EQ(mean->Finish()->mean, (ParameterVector{64.0f, -64.0f}));
  EXPECT_EQ(mean->Accumulate(ParameterVector{0.0f, 0.0f}, 1).code(),
            absl::StatusCode::kFailedPrecondition);
}

class RefusalTest : public ::testing::Test {
 protected:
  // The update is refused, the message says why, and the mean stays the same.
  void ExpectRefused(const ParameterVector& update, double weight,
                     const std::string& why) {
    auto mean = MakeWeightedMean(Options(3)).value();
    ASSERT_TRUE(mean->Accumulate(good_, 5).ok());
    const auto before = mean->Finish();
    const absl::Status status = mean->Accumulate(update, weight);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    const auto after = mean->Finish();
    EXPECT_EQ(after->mean, before->mean);
    EXPECT_EQ(after->weight_sum, before->weight_sum);
    EXPECT_EQ(after->updates, 1);
  }

  const ParameterVector good_ = {0.1f, -0.2f, 0.3f};
};

TEST_F(RefusalTest, RefusesWeightsOutsideZeroToTheCap) {
  ExpectRefused(good_, 0, "weight is 0");
  ExpectRefused(good_, -1, "weight is -1");
  ExpectRefused(good_, kNaN<float>, "weight is nan");
  ExpectRefused(good_, kInf<float>, "weight is inf");
  ExpectRefused(good_, 16384.001, "at most 16384");
  ExpectRefused(good_, 1e-300, "too small");
}

TEST_F(RefusalTest, RefusesCoordinatesNotFiniteOrBeyondTheBound) {
  ExpectRefused({0, 0, kNaN<float>}, 1, "coordinate 2 is not finite");
  ExpectRefused({0, -kInf<float>, 0}, 1, "coordinate 1 is not finite");
  ExpectRefused({64.01f, 0, 0}, 1, "coordinate 0 is beyond the bound 64");
  ExpectRefused({0, -65, kNaN<float>}, 1,
                "2 unusable coordinates; coordinate 1");
}

TEST_F(RefusalTest, RefusesUpdatesOfAnotherLength) {
  ExpectRefused({0, 0}, 1, "2 coordinates, wanted 3");
  ExpectRefused({0, 0, 0, 0}, 1, "4 coordinates, wanted 3");
  ExpectRefused({}, 1, "0 coordinates, wanted 3");
}

TEST(WeightedMeanTest, RefusesToMergeAnotherConfiguration) {
  auto mean = MakeWeightedMean(Options(3)).value();
  const auto longer = MakeWeightedMean(Options(4)).value();
  const auto coarser = MakeWeightedMean(Options(3, 2048)).value();
  EXPECT_EQ(mean->Merge(*longer).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(mean->Merge(*coarser).code(), absl::StatusCode::kInvalidArgument);
}

TEST(WeightedMeanTest, RefusesToMergeMoreThanItHasRoomFor) {
  const std::vector<Update> two = RandomUpdates(2, 3);
  auto left = Fold(Options(3, 3), two);
  const auto right = Fold(Options(3, 3), two);
  EXPECT_EQ(left->Merge(*right).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(left->Finish()->updates, 2);
}

TEST(WeightedMeanTest, RefusesToFinishWithoutUpdates) {
  const auto mean = MakeWeightedMean(Options(3)).value();
  EXPECT_EQ(mean->Finish().status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(WeightedMeanTest, RefusesImpossibleOptions) {
  EXPECT_FALSE(MakeWeightedMean(Options(0)).ok());
  EXPECT_FALSE(MakeWeightedMean(Options(3, 0)).ok());
  for (double bad : {0.0, -1.0, kNaN<double>, kInf<double>}) {
    WeightedMeanOptions options = Options(3);
    options.bound = bad;
    EXPECT_FALSE(MakeWeightedMean(options).ok()) << bad;
    options = Options(3);
    options.weight_cap = bad;
    EXPECT_FALSE(MakeWeightedMean(options).ok()) << bad;
  }
}

}  // namespace
}  // namespace edgetune
