// FlexLoRA against the SVD of dense matrices (vectors/make_lora_vectors.py).

#include "aggregation/product_fold.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "aggregation/product_mean.h"
#include "base/random.h"
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

std::unique_ptr<UpdateFold> FoldOf(const nlohmann::json& one) {
  const ParameterLayout layout = LayoutOfCase(one);
  return *MakeProductFold(LimitsOf(layout), layout,
                          one["incoming"].get<ParameterVector>());
}

// B A of module m after the step.
std::vector<double> ProductOf(const nlohmann::json& one,
                              const ParameterVector& step, size_t m) {
  const ParameterLayout layout = LayoutOfCase(one);
  const auto& a = layout.tensors()[2 * m];
  const auto& b = layout.tensors()[2 * m + 1];
  const auto at = [&](size_t i) {
    return one["incoming"][i].get<double>() + step[i];
  };
  const auto out = static_cast<size_t>(b.shape[0]);
  const auto in = static_cast<size_t>(a.shape[1]);
  const auto rank = static_cast<size_t>(a.shape[0]);
  std::vector<double> product(out * in);
  for (size_t o = 0; o < out; ++o) {
    for (size_t i = 0; i < in; ++i) {
      for (size_t r = 0; r < rank; ++r) {
        product[o * in + i] +=
            at(b.offset + o * rank + r) * at(a.offset + r * in + i);
      }
    }
  }
  return product;
}

TEST(ProductFoldTest, IsTheDenseMeanCutToTheRank) {
  const auto cases = LoraCases("flexlora");
  ASSERT_EQ(cases.size(), 5u);
  for (const nlohmann::json& one : cases) {
    const auto fold = FoldOf(one);
    for (const SentUpdate& sent : SentOf(one)) {
      const absl::Status added = fold->Add(sent.update, sent.terms);
      ASSERT_TRUE(added.ok()) << added;
    }
    const auto result = fold->Finish();
    ASSERT_TRUE(result.ok()) << result.status();
    for (size_t m = 0; m < one["shapes"].size(); ++m) {
      const std::vector<double> wanted = one["products"][m];
      const std::vector<double> got = ProductOf(one, result->mean, m);
      ASSERT_EQ(got.size(), wanted.size());
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_NEAR(got[i], wanted[i], 1e-5) << one["ranks"] << i;
      }
    }
    EXPECT_NEAR(result->kept, one["kept"].get<double>(), 1e-9);
    EXPECT_EQ(result->updates, std::ssize(one["updates"]));
  }
}

// A lone update of a smaller rank leaves directions over: their A must not
// become zero, since nothing could be learned there again.
TEST(ProductFoldTest, NoSliceDies) {
  for (const nlohmann::json& one : LoraCases("flexlora")) {
    const ParameterLayout layout = LayoutOfCase(one);
    const auto fold = FoldOf(one);
    for (const SentUpdate& sent : SentOf(one)) {
      ASSERT_TRUE(fold->Add(sent.update, sent.terms).ok());
    }
    const ParameterVector step = fold->Finish()->mean;
    for (size_t m = 0; m < one["shapes"].size(); ++m) {
      const auto& a = layout.tensors()[2 * m];
      for (int64_t row = 0; row < a.shape[0]; ++row) {
        double squares = 0;
        for (int64_t i = 0; i < a.shape[1]; ++i) {
          const size_t at = a.offset + row * a.shape[1] + i;
          const double value = one["incoming"][at].get<double>() + step[at];
          squares += value * value;
        }
        EXPECT_NEAR(squares, 1, 1e-5);  // rows of A are orthonormal
      }
    }
  }
}

TEST(ProductFoldTest, NeitherOrderNorShardsChangeABit) {
  for (const nlohmann::json& one : LoraCases("flexlora")) {
    testing::ExpectOrderAndShardsChangeNothing(SentOf(one),
                                               [&] { return FoldOf(one); });
  }
}

TEST(ProductFoldTest, EqualUpdatesOfAnythingAreTheirOwnProduct) {
  nlohmann::json one = LoraCases("flexlora").front();
  const auto fold = FoldOf(one);
  const SentUpdate sent = SentOf(one).front();
  for (const double weight : {1.0, 100.0, 3.5}) {
    ASSERT_TRUE(fold->Add(sent.update, {.weight = weight}).ok());
  }
  const auto result = fold->Finish();
  EXPECT_NEAR(result->kept, 1, 1e-12);
  for (size_t m = 0; m < one["shapes"].size(); ++m) {
    const std::vector<double> wanted = ProductOf(one, sent.update, m);
    const std::vector<double> got = ProductOf(one, result->mean, m);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], wanted[i], 1e-5);
    }
  }
}

TEST(ProductFoldTest, AnAdapterThatComputesNothingStaysSo) {
  const nlohmann::json one = LoraCases("flexlora").front();
  const ParameterLayout layout = LayoutOfCase(one);
  ParameterVector incoming = one["incoming"];
  for (const auto& tensor : layout.tensors()) {
    if (!tensor.name.ends_with("lora_B")) continue;
    std::fill_n(incoming.begin() + tensor.offset, tensor.count, 0.0f);
  }
  const auto fold = *MakeProductFold(LimitsOf(layout), layout, incoming);
  ASSERT_TRUE(fold->Add(ParameterVector(layout.size()), {.weight = 1}).ok());
  const auto result = fold->Finish();
  EXPECT_EQ(result->kept, 1);
  for (const auto& tensor : layout.tensors()) {
    for (size_t i = tensor.offset; i < tensor.offset + tensor.count; ++i) {
      EXPECT_TRUE(std::isfinite(result->mean[i]));
      if (tensor.name.ends_with("lora_B")) {
        EXPECT_EQ(result->mean[i], 0);
      }
    }
  }
}

TEST(ProductFoldTest, RefusesWhatItCannotCombine) {
  const nlohmann::json one = LoraCases("flexlora").front();
  const ParameterLayout layout = LayoutOfCase(one);
  const ParameterVector incoming = one["incoming"];
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakeProductFold(LimitsOf(layout), layout, {1, 2}).status()));
  const auto fold = FoldOf(one);
  EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
  EXPECT_FALSE(fold->Add({}, {.weight = 1}).ok());
  EXPECT_FALSE(fold->Add(incoming, {.weight = 0}).ok());
  EXPECT_FALSE(fold->Add(incoming, {.weight = 1, .rank = 1}).ok());
  ParameterVector bad = incoming;
  bad[3] = std::nanf("");
  EXPECT_FALSE(fold->Add(bad, {.weight = 1}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
  ParameterVector other = incoming;
  other[0] += 1;
  EXPECT_TRUE(absl::IsInvalidArgument(
      fold->Merge(**MakeProductFold(LimitsOf(layout), layout, other))));
}

// More stacked ranks than a side has: the QR is wide.
TEST(NearestToSumTest, OfManyProductsIsOfTheDenseSum) {
  Random random(5);
  const ModuleShape shape = {.out = 6, .in = 7, .rank = 6};
  std::vector<LoraProduct> products;
  std::vector<double> sum(shape.out * shape.in);
  for (int k = 0; k < 5; ++k) {
    LoraProduct product{ParameterVector(3 * shape.in),
                        ParameterVector(3 * shape.out), 3, 0.1 * (k + 1)};
    for (float& v : product.a) v = static_cast<float>(random.Uniform() - 0.5);
    for (float& v : product.b) v = static_cast<float>(random.Uniform() - 0.5);
    for (size_t o = 0; o < shape.out; ++o) {
      for (size_t i = 0; i < shape.in; ++i) {
        for (size_t r = 0; r < 3; ++r) {
          sum[o * shape.in + i] += product.share * product.b[o * 3 + r] *
                                   product.a[r * shape.in + i];
        }
      }
    }
    products.push_back(std::move(product));
  }
  // Rank 6 is all that a matrix with six rows has.
  const NearestFactors all = NearestToSum(products, shape);
  for (size_t o = 0; o < shape.out; ++o) {
    for (size_t i = 0; i < shape.in; ++i) {
      double got = 0;
      for (size_t r = 0; r < 6; ++r) {
        got += double{all.b[o * 6 + r]} * all.a[r * shape.in + i];
      }
      EXPECT_NEAR(got, sum[o * shape.in + i], 1e-6);
    }
  }
  EXPECT_NEAR(all.kept, all.energy, 1e-12);
  double squares = 0;
  for (const double v : sum) squares += v * v;
  EXPECT_NEAR(all.energy, squares, 1e-12);
}

// What folds stack: slices of zeros, and products in the span of others. Eigen
// 3.4's BDCSVD is off by up to 4e-4 in some of these.
TEST(NearestToSumTest, OfLowRankIsExactWhereTheRankSuffices) {
  Random random(11);
  const auto draw = [&](size_t count, double scale) {
    ParameterVector values(count);
    for (float& v : values) v = static_cast<float>(scale * random.Normal());
    return values;
  };
  for (size_t trial = 0; trial < 1500; ++trial) {
    const ModuleShape shape = {.out = 32 + trial % 33, .in = 64, .rank = 30};
    std::vector<LoraProduct> products;
    for (size_t i = 0; i < 30; ++i) {
      const double size = i < trial / 3 % 20 ? std::pow(10, -0.4 * i) : 0;
      products.push_back({draw(shape.in, 0.1), draw(shape.out, size), 1, 1});
    }
    for (int k = 0; k < 4; ++k) {  // nearly constant columns
      ParameterVector b = draw(2 * shape.out, trial % 5 == 0 ? 0 : 1e-3);
      for (float& v : b) v += 0.1f * static_cast<float>(k + 1);
      products.push_back({draw(2 * shape.in, 0.1), std::move(b), 2, 0.25});
    }
    const NearestFactors nearest = NearestToSum(products, shape);
    std::vector<double> sum(shape.out * shape.in);
    products.push_back({nearest.a, nearest.b, shape.rank, -1});
    for (const LoraProduct& product : products) {
      for (size_t o = 0; o < shape.out; ++o) {
        for (size_t r = 0; r < product.rank; ++r) {
          const double b = product.share * product.b[o * product.rank + r];
          for (size_t i = 0; i < shape.in; ++i) {
            sum[o * shape.in + i] += b * product.a[r * shape.in + i];
          }
        }
      }
    }
    for (const double left : sum) ASSERT_NEAR(left, 0, 1e-6) << trial;
  }
}

}  // namespace
}  // namespace edgetune
