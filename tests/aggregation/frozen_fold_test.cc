// FedEx-LoRA and FLoRA against dense matrices and their SVD
// (vectors/make_lora_vectors.py).

#include "aggregation/frozen_fold.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/rank_slices.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregation/lora_cases.h"

namespace edgetune {
namespace {

using testing::LayoutOfCase;
using testing::LimitsOf;
using testing::LoraCases;
using testing::SentOf;
using testing::SentUpdate;

// Layout of all slices of a case, whose "rank" is that of the trained ones.
ParameterLayout WholeLayout(const nlohmann::json& one) {
  return LayoutOfRank(LayoutOfCase(one), one["rank"].get<int64_t>() +
                                             one["frozen"].get<int64_t>());
}

// What the first round starts from: frozen slices of zeros.
ParameterVector Begin(const nlohmann::json& one) {
  return PadSlices(one["begin"].get<ParameterVector>(), WholeLayout(one),
                   one["rank"]);
}

std::unique_ptr<UpdateFold> FoldOf(const nlohmann::json& one,
                                   const nlohmann::json& round,
                                   const ParameterVector& adapter) {
  return *MakeFrozenFold(LimitsOf(LayoutOfCase(one)),
                         {.layout = WholeLayout(one),
                          .frozen = one["frozen"],
                          .adapter = adapter,
                          .anew = round["anew"].get<ParameterVector>()});
}

// Of one round, as SentOf has them.
std::vector<SentUpdate> SentIn(const nlohmann::json& one,
                               const nlohmann::json& round) {
  nlohmann::json flat = one;
  flat["updates"] = round["updates"];
  return SentOf(flat);
}

// As the server's step does: float32.
void Take(const Aggregator::Result& result, ParameterVector& adapter) {
  ASSERT_EQ(result.mean.size(), adapter.size());
  for (size_t i = 0; i < adapter.size(); ++i) adapter[i] += result.mean[i];
}

// B A of module m over all slices of an adapter.
std::vector<double> ProductOf(const ParameterVector& adapter,
                              const ParameterLayout& layout, size_t m) {
  const auto& a = layout.tensors()[2 * m];
  const auto& b = layout.tensors()[2 * m + 1];
  const auto out = static_cast<size_t>(b.shape[0]);
  const auto in = static_cast<size_t>(a.shape[1]);
  const auto rank = static_cast<size_t>(a.shape[0]);
  std::vector<double> product(out * in);
  for (size_t o = 0; o < out; ++o) {
    for (size_t i = 0; i < in; ++i) {
      for (size_t r = 0; r < rank; ++r) {
        product[o * in + i] += double{adapter[b.offset + o * rank + r]} *
                               adapter[a.offset + r * in + i];
      }
    }
  }
  return product;
}

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (const double v : values) largest = std::max(largest, std::fabs(v));
  return largest;
}

// Entries of factors are float32 of up to a few times the largest entry of the
// product, of which eight or so are summed: 1e-5 of it is ample, and much less
// than what the rank cuts off anywhere below.
void ExpectProducts(const nlohmann::json& wanted,
                    const ParameterVector& adapter,
                    const ParameterLayout& layout) {
  ASSERT_EQ(wanted.size(), layout.tensors().size() / 2);
  for (size_t m = 0; m < wanted.size(); ++m) {
    const std::vector<double> dense = wanted[m];
    const std::vector<double> got = ProductOf(adapter, layout, m);
    ASSERT_EQ(got.size(), dense.size());
    const double tolerance = 1e-5 * Largest(dense);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], dense[i], tolerance) << m << " " << i;
    }
  }
}

class FrozenFoldTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<nlohmann::json> Cases() const { return LoraCases(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Rules, FrozenFoldTest,
                         ::testing::Values("fedex", "flora"));

TEST_P(FrozenFoldTest, RoundsComputeTheMeanOfProductsButForWhatTheRankCuts) {
  ASSERT_EQ(Cases().size(), 5u);
  size_t exact = 0, cut = 0;
  for (const nlohmann::json& one : Cases()) {
    const ParameterLayout layout = WholeLayout(one);
    ParameterVector adapter = Begin(one);
    ASSERT_EQ(one["rounds"].size(), 3u);
    for (const nlohmann::json& round : one["rounds"]) {
      const auto fold = FoldOf(one, round, adapter);
      for (const SentUpdate& sent : SentIn(one, round)) {
        const absl::Status added = fold->Add(sent.update, sent.terms);
        ASSERT_TRUE(added.ok()) << added;
      }
      const auto result = fold->Finish();
      ASSERT_TRUE(result.ok()) << result.status();
      Take(*result, adapter);
      ExpectProducts(round["products"], adapter, layout);
      const double kept = round["kept"];
      if (kept > 1 - 1e-12) {
        ++exact;
        ExpectProducts(round["exact"], adapter, layout);
      } else {
        ++cut;
        EXPECT_NEAR(result->kept, kept, 1e-6);
      }
      EXPECT_EQ(result->updates, std::ssize(one["ranks"]));
      const ParameterVector trained = round["trained"];
      const ParameterVector got = FirstSlices(adapter, layout, one["rank"]);
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_NEAR(got[i], trained[i], 1e-6) << i;
      }
    }
  }
  EXPECT_GE(exact, 5u);
  EXPECT_GE(cut, 4u);
}

TEST_P(FrozenFoldTest, NeitherOrderNorShardsChangeABit) {
  for (const nlohmann::json& one : Cases()) {
    const nlohmann::json& round = one["rounds"][0];
    testing::ExpectOrderAndShardsChangeNothing(
        SentIn(one, round), [&] { return FoldOf(one, round, Begin(one)); });
  }
}

// A lone device's B A is the mean: nothing is left for the frozen slices, and
// what rounding leaves of nothing is not written down.
TEST(FedExTest, WhereAllAgreeFrozenSlicesStayZeros) {
  const nlohmann::json one = LoraCases("fedex").front();
  const nlohmann::json& round = one["rounds"][0];
  ParameterVector adapter = Begin(one);
  const auto fold = FoldOf(one, round, adapter);
  const SentUpdate sent = SentIn(one, round).front();
  ASSERT_TRUE(fold->Add(sent.update, {.weight = 4}).ok());
  const auto result = fold->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->kept, 1);
  Take(*result, adapter);
  const ParameterLayout layout = WholeLayout(one);
  const ParameterVector frozen =
      WithoutSlices(adapter, layout, 0, one["rank"].get<int64_t>());
  EXPECT_EQ(frozen, ParameterVector(frozen.size()));
}

// One device of one slice: the product has rank 1, so has what is frozen.
TEST(FloraTest, OnlyAsManySlicesAsThereAreDirectionsAreNotZero) {
  const nlohmann::json one = LoraCases("flora")[1];
  const nlohmann::json& round = one["rounds"][0];
  ASSERT_EQ(one["ranks"][1], 1);
  ParameterVector adapter = Begin(one);
  const auto fold = FoldOf(one, round, adapter);
  const SentUpdate sent = SentIn(one, round)[1];
  ASSERT_TRUE(fold->Add(sent.update, sent.terms).ok());
  Take(*fold->Finish(), adapter);
  const ParameterLayout layout = WholeLayout(one);
  const std::vector<uint32_t> slices = SlicesOf(layout);
  const uint32_t first = one["rank"];
  for (size_t i = 0; i < adapter.size(); ++i) {
    if (slices[i] > first) {
      EXPECT_EQ(adapter[i], 0) << i;
    }
    EXPECT_TRUE(std::isfinite(adapter[i]));
  }
}

TEST(FrozenFoldErrorsTest, RefusesWhatItCannotCombine) {
  const nlohmann::json one = LoraCases("fedex")[1];
  const nlohmann::json& round = one["rounds"][0];
  const ParameterLayout layout = WholeLayout(one), trained = LayoutOfCase(one);
  const ParameterVector adapter = Begin(one);
  const auto fold = FoldOf(one, round, adapter);
  EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
  const ParameterVector good = SentIn(one, round).front().update;
  EXPECT_FALSE(fold->Add({}, {.weight = 1}).ok());
  EXPECT_FALSE(fold->Add(adapter, {.weight = 1}).ok());  // of all slices
  EXPECT_FALSE(fold->Add(good, {.weight = 0}).ok());
  EXPECT_FALSE(fold->Add(good, {.weight = 1, .rank = 1}).ok());
  ParameterVector bad = good;
  bad[3] = std::nanf("");
  EXPECT_FALSE(fold->Add(bad, {.weight = 1}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
  ParameterVector other = adapter;
  other[0] += 1;
  EXPECT_TRUE(absl::IsInvalidArgument(fold->Merge(*FoldOf(one, round, other))));
  const auto make = [&](int64_t frozen, ParameterVector from,
                        ParameterVector anew) {
    return MakeFrozenFold(LimitsOf(trained),
                          {layout, frozen, std::move(from), std::move(anew)})
        .status();
  };
  const int64_t frozen = one["frozen"];
  EXPECT_TRUE(make(frozen, adapter, {}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(make(0, adapter, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(make(SliceCount(layout), adapter, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(make(frozen - 1, adapter, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(make(frozen, good, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(make(frozen, adapter, {1, 2})));
}

}  // namespace
}  // namespace edgetune
