// Against NumPy: vectors/make_lora_vectors.py, dense and in float64.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "aggregation/update_fold.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregation/lora_cases.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

using testing::LayoutOfCase;
using testing::LimitsOf;
using testing::LoraCases;
using testing::SentOf;
using testing::SentUpdate;

std::unique_ptr<Aggregator> MeanOf(const ParameterLayout& layout) {
  return *MakeWeightedMean(LimitsOf(layout));
}

void ExpectNear(const ParameterVector& got, const std::vector<double>& wanted,
                double tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], wanted[i], tolerance) << i;
  }
}

TEST(SliceFoldTest, IsTheMeanOfEachSliceOverThoseThatTrainedIt) {
  ASSERT_EQ(LoraCases("hetlora").size(), 4u);
  for (const nlohmann::json& one : LoraCases("hetlora")) {
    const ParameterLayout layout = LayoutOfCase(one);
    const auto fold = MakeSliceFold(MeanOf(layout), layout);
    double weights = 0;
    for (const SentUpdate& sent : SentOf(one)) {
      const absl::Status added = fold->Add(sent.update, sent.terms);
      ASSERT_TRUE(added.ok()) << added;
      weights += sent.terms.weight;
    }
    const auto result = fold->Finish();
    ASSERT_TRUE(result.ok()) << result.status();
    // Float32 twice: of the padded mean and of the slice's. Values up to 3,
    // the factor up to 25.
    ExpectNear(result->mean, one["mean"], 3e-6);
    EXPECT_EQ(result->weight_sum, weights);
    EXPECT_EQ(result->updates, std::ssize(one["updates"]));
  }
}

TEST(SliceFoldTest, WhereAllTrainAllItIsTheWeightedMeanToTheBit) {
  for (const nlohmann::json& one : LoraCases("hetlora")) {
    const ParameterLayout layout = LayoutOfCase(one);
    const auto fold = MakeSliceFold(MeanOf(layout), layout);
    const auto mean = MeanOf(layout);
    for (const SentUpdate& sent : SentOf(one)) {
      ASSERT_TRUE(fold->Add(sent.update, {.weight = sent.terms.weight}).ok());
      ASSERT_TRUE(mean->Accumulate(sent.update, sent.terms.weight).ok());
    }
    EXPECT_EQ(fold->Finish()->mean, mean->Finish()->mean);
  }
}

TEST(SliceFoldTest, NeitherOrderNorShardsChangeABit) {
  const nlohmann::json one = LoraCases("hetlora").front();
  const ParameterLayout layout = LayoutOfCase(one);
  std::vector<SentUpdate> sent = SentOf(one);
  const auto forward = MakeSliceFold(MeanOf(layout), layout);
  for (const SentUpdate& s : sent)
    ASSERT_TRUE(forward->Add(s.update, s.terms).ok());
  std::reverse(sent.begin(), sent.end());
  const auto left = MakeSliceFold(MeanOf(layout), layout);
  const auto right = MakeSliceFold(MeanOf(layout), layout);
  for (size_t k = 0; k < sent.size(); ++k) {
    ASSERT_TRUE(
        (k % 2 == 0 ? left : right)->Add(sent[k].update, sent[k].terms).ok());
  }
  ASSERT_TRUE(left->Merge(*right).ok());
  EXPECT_EQ(left->Finish()->mean, forward->Finish()->mean);
  EXPECT_TRUE(
      absl::IsInvalidArgument(left->Merge(*MakePlainFold(MeanOf(layout)))));
}

TEST(SliceFoldTest, RefusesWhatIsNotOfItsRank) {
  const nlohmann::json one = LoraCases("hetlora").front();
  const ParameterLayout layout = LayoutOfCase(one);
  const auto fold = MakeSliceFold(MeanOf(layout), layout);
  const SentUpdate whole = SentOf(one).front();
  const auto message = [&](int64_t rank) {
    return std::string(
        fold->Add(whole.update, {.weight = 1, .rank = rank}).message());
  };
  // In the first module's A the third row begins at 8.
  EXPECT_THAT(message(2), HasSubstr("coordinate 8 of an update of rank 2 is "
                                    "not zero, but is of slice 3"));
  EXPECT_THAT(message(4), HasSubstr("an update of rank 4, wanted 1 to 3"));
  EXPECT_THAT(message(-1), HasSubstr("an update of rank -1"));
  EXPECT_FALSE(fold->Add({}, {.weight = 1}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
}

}  // namespace
}  // namespace edgetune
