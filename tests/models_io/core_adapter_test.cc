#include "models/io/adapter/core_adapter.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/factors.h"
#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;

// Two modules of rank 3: A [3, 5], B [4, 3]; A [3, 6], B [7, 3].
const ParameterLayout kPlainLayout =
    *ParameterLayout::Make({{"p.lora_A", {3, 5}},
                            {"p.lora_B", {4, 3}},
                            {"q.lora_A", {3, 6}},
                            {"q.lora_B", {7, 3}}});

Adapter CoreAdapter(uint64_t seed = 1) {
  Adapter adapter{{.rank = 3, .alpha = 6, .targets = {"q_proj"}},
                  WithCores(kPlainLayout),
                  {}};
  adapter.values = InitialCoreAdapter(adapter.layout, seed);
  return adapter;
}

void DrawCores(Adapter& adapter, uint64_t seed) {
  Random random(seed);
  for (const auto& tensor : adapter.layout.tensors()) {
    if (!tensor.name.ends_with("lora_R")) continue;
    for (size_t i = 0; i < tensor.count; ++i) {
      adapter.values[tensor.offset + i] =
          static_cast<float>(random.Uniform() - 0.5);
    }
  }
}

// [rows, columns] of tensor t in double.
using Matrix = std::vector<std::vector<double>>;
Matrix Read(const Adapter& adapter, size_t t) {
  const auto& tensor = adapter.layout.tensors()[t];
  Matrix matrix(tensor.shape[0], std::vector<double>(tensor.shape[1]));
  for (size_t i = 0; i < tensor.count; ++i) {
    matrix[i / tensor.shape[1]][i % tensor.shape[1]] =
        adapter.values[tensor.offset + i];
  }
  return matrix;
}
Matrix Times(const Matrix& a, const Matrix& b) {
  Matrix out(a.size(), std::vector<double>(b[0].size()));
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t k = 0; k < b.size(); ++k) {
      for (size_t j = 0; j < b[0].size(); ++j) out[i][j] += a[i][k] * b[k][j];
    }
  }
  return out;
}
void ExpectNear(const Matrix& got, const Matrix& wanted, double tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    for (size_t j = 0; j < got[i].size(); ++j) {
      EXPECT_NEAR(got[i][j], wanted[i][j], tolerance) << i << " " << j;
    }
  }
}

TEST(CoreAdapterTest, EachModuleHasASquareAfterItsFactors) {
  const ParameterLayout layout = WithCores(kPlainLayout);
  ASSERT_EQ(layout.tensors().size(), 6u);
  EXPECT_EQ(layout.tensors()[2].name, "p.lora_R");
  EXPECT_THAT(layout.tensors()[2].shape, ElementsAre(3, 3));
  EXPECT_EQ(layout.tensors()[5].name, "q.lora_R");
  EXPECT_EQ(LayoutOf(layout, Factors::kCore).size(), 18u);
  EXPECT_TRUE(HasCores(layout));
  EXPECT_FALSE(HasCores(kPlainLayout));
}

TEST(CoreAdapterTest, FactorsBeginOrthonormalAndCoresAtZero) {
  const Adapter adapter = CoreAdapter();
  for (size_t module : {0, 3}) {
    const Matrix a = Read(adapter, module), b = Read(adapter, module + 1);
    Matrix rows(3, std::vector<double>(3)), columns = rows, one = rows;
    for (int i = 0; i < 3; ++i) {
      one[i][i] = 1;
      for (int j = 0; j < 3; ++j) {
        for (size_t k = 0; k < a[0].size(); ++k)
          rows[i][j] += a[i][k] * a[j][k];
        for (size_t k = 0; k < b.size(); ++k)
          columns[i][j] += b[k][i] * b[k][j];
      }
    }
    ExpectNear(rows, one, 1e-6);
    ExpectNear(columns, one, 1e-6);
    ExpectNear(Read(adapter, module + 2), Matrix(3, std::vector<double>(3)), 0);
  }
  EXPECT_EQ(CoreAdapter().values, adapter.values);
  EXPECT_NE(CoreAdapter(2).values, adapter.values);
}

TEST(CoreAdapterTest, ThePlainFormComputesBTimesRTimesA) {
  Adapter adapter = CoreAdapter();
  DrawCores(adapter, 5);
  const Adapter plain = PlainAdapter(adapter);
  EXPECT_EQ(plain.layout, kPlainLayout);
  EXPECT_EQ(plain.spec.alpha, adapter.spec.alpha);
  for (size_t m : {0, 1}) {
    ExpectNear(Times(Read(plain, 2 * m + 1), Read(plain, 2 * m)),
               Times(Times(Read(adapter, 3 * m + 1), Read(adapter, 3 * m + 2)),
                     Read(adapter, 3 * m)),
               1e-6);
  }
}

// What makes averaging exact: the mean of R gives the mean of B R A.
TEST(CoreAdapterTest, TheMeanOfCoresIsTheMeanOfProducts) {
  const double weights[] = {0.2, 0.5, 0.3};
  Adapter mean = CoreAdapter();
  std::vector<Matrix> products(2);
  for (int k = 0; k < 3; ++k) {
    Adapter one = CoreAdapter();
    DrawCores(one, 10 + k);
    const Adapter plain = PlainAdapter(one);
    for (size_t i = 0; i < one.values.size(); ++i) {
      if (k == 0) mean.values[i] = 0;
      mean.values[i] += static_cast<float>(weights[k] * one.values[i]);
    }
    for (size_t m : {0, 1}) {
      const Matrix product = Times(Read(plain, 2 * m + 1), Read(plain, 2 * m));
      products[m].resize(product.size(),
                         std::vector<double>(product[0].size()));
      for (size_t i = 0; i < product.size(); ++i) {
        for (size_t j = 0; j < product[i].size(); ++j) {
          products[m][i][j] += weights[k] * product[i][j];
        }
      }
    }
  }
  const Adapter plain = PlainAdapter(mean);
  for (size_t m : {0, 1}) {
    ExpectNear(Times(Read(plain, 2 * m + 1), Read(plain, 2 * m)), products[m],
               1e-6);
  }
}

TEST(CoreAdapterTest, AnAdapterWithoutCoresIsItsOwnPlainForm) {
  Adapter adapter{
      {.rank = 3}, kPlainLayout, ParameterVector(kPlainLayout.size(), 2)};
  EXPECT_EQ(PlainAdapter(adapter).values, adapter.values);
  std::optional<Adapter> made;
  EXPECT_EQ(&PlainForm(adapter, made), &adapter);
  EXPECT_FALSE(made.has_value());
  const Adapter cores = CoreAdapter();
  EXPECT_EQ(&PlainForm(cores, made), &*made);
}

}  // namespace
}  // namespace edgetune
