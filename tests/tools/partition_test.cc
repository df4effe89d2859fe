#include "tools/data/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/status.h"

namespace edgetune {
namespace {

using enum PartitionOptions::By;

std::vector<size_t> SizesOf(const std::vector<size_t>& clients, size_t count) {
  std::vector<size_t> sizes(count);
  for (const size_t client : clients) ++sizes.at(client);
  return sizes;
}

// Values 0, 1, 2 with 60, 30 and 10 examples.
std::vector<size_t> Values() {
  std::vector<size_t> values(100);
  for (size_t i = 60; i < 100; ++i) values[i] = i < 90 ? 1 : 2;
  return values;
}

TEST(PartitionTest, IidDealsOutEvenlyAndAsTheSeedSays) {
  const auto with = [](uint64_t seed) {
    return *ClientsOfExamples(Values(),
                              {.by = kIid, .clients = 3, .seed = seed});
  };
  EXPECT_EQ(SizesOf(with(1), 3), (std::vector<size_t>{34, 33, 33}));
  EXPECT_EQ(with(1), with(1));
  EXPECT_NE(with(1), with(2));
}

TEST(PartitionTest, AFieldsValueStaysTogether) {
  const auto clients =
      ClientsOfExamples(Values(), {.by = kField, .clients = 2});
  ASSERT_TRUE(clients.ok()) << clients.status();
  std::map<size_t, std::set<size_t>> of_value;
  for (size_t i = 0; i < 100; ++i) of_value[Values()[i]].insert((*clients)[i]);
  for (const auto& [value, set] : of_value) EXPECT_EQ(set.size(), 1u) << value;
  EXPECT_EQ(SizesOf(*clients, 2), (std::vector<size_t>{60, 40}));
}

TEST(PartitionTest, MoreClientsThanValuesAreRefused) {
  const auto clients =
      ClientsOfExamples(Values(), {.by = kField, .clients = 4});
  EXPECT_EQ(KindOf(clients.status()), ErrorKind::kUsage);
  EXPECT_FALSE(ClientsOfExamples({0, 0, 0}, {.by = kIid, .clients = 2}).ok());
}

TEST(PartitionTest, ASmallAlphaIsUnevenAndALargeOneIsNot) {
  const std::vector<size_t> values(10000);
  const auto largest = [&](double alpha) {
    const auto clients = ClientsOfExamples(
        values, {.by = kDirichlet, .clients = 4, .alpha = alpha, .seed = 5});
    EXPECT_TRUE(clients.ok()) << clients.status();
    return std::ranges::max(SizesOf(*clients, 4));
  };
  EXPECT_GT(largest(0.2), 4500u);
  EXPECT_LT(largest(1000), 2800u);
}

TEST(PartitionTest, EveryClientGetsTwoExamplesOrAllIsRefused) {
  const auto some = ClientsOfExamples(
      Values(), {.by = kDirichlet, .clients = 4, .alpha = 0.3, .seed = 1});
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_GE(std::ranges::min(SizesOf(*some, 4)), 2u);
  EXPECT_FALSE(ClientsOfExamples(
                   Values(), {.by = kDirichlet, .clients = 30, .alpha = 0.001})
                   .ok());
}

// A share X of Dirichlet(a, ..., a) over n parts has mean 1/n and variance
// (n - 1) / (n^2 (n a + 1)).
TEST(PartitionTest, SharesHaveTheMomentsOfTheDirichletDistribution) {
  constexpr int kDraws = 20000;
  constexpr size_t kParts = 4;
  for (const double alpha : {0.1, 0.5, 1.0, 5.0}) {
    Random random(3);
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double share = DrawDirichlet(kParts, alpha, random)[1];
      sum += share;
      squares += share * share;
    }
    const double mean = sum / kDraws;
    const double variance = squares / kDraws - mean * mean;
    const double wanted =
        (kParts - 1) / (kParts * kParts * (kParts * alpha + 1));
    // Five standard errors of the mean; the variance within 5 %.
    EXPECT_NEAR(mean, 0.25, 5 * std::sqrt(wanted / kDraws)) << alpha;
    EXPECT_NEAR(variance, wanted, 0.05 * wanted) << alpha;
  }
}

TEST(PartitionTest, SharesOfATinyAlphaAreStillShares) {
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    double sum = 0;
    for (const double share : DrawDirichlet(5, 0.001, random)) {
      ASSERT_TRUE(share >= 0 && share <= 1);
      sum += share;
    }
    ASSERT_NEAR(sum, 1, 1e-12);
  }
}

}  // namespace
}  // namespace edgetune
