// What partitions are drawn from. Every bound states the chance that it is
// missed by a right program, were its seeds new.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "simulations/population/dirichlet_deal.h"
#include "simulations/population/partition.h"
#include "tests/simulations_population/partitions.h"
#include "tests/simulations_population/vectors.h"

namespace edgetune {
namespace {

using testing::Labels;
using testing::Partitioned;
using Kind = PartitionSpec::Kind;
// Counts by [client][label].
using Table = std::vector<std::vector<double>>;

constexpr uint64_t kPartitionSeeds[] = {1, 2, 3, 50, 600, 7000};

Labels LabelsOf(const std::vector<size_t>& sizes) {
  Labels out;
  for (size_t label = 0; label < sizes.size(); ++label) {
    out.insert(out.end(), sizes[label],
               std::string(1, static_cast<char>('a' + label)));
  }
  return out;
}

Table Count(const Partition& partition, const Labels& labels) {
  Table out;
  for (const ClientExamples& one : partition) {
    out.emplace_back(26, 0.0);
    for (const size_t i : one.examples) ++out.back()[labels[i][0] - 'a'];
  }
  return out;
}

// Pearson's statistic against independence of client and label.
double ChiSquare(const Table& table) {
  std::vector<double> rows(table.size(), 0), columns(26, 0);
  double all = 0, sum = 0;
  for (size_t r = 0; r < table.size(); ++r) {
    for (size_t c = 0; c < columns.size(); ++c) {
      rows[r] += table[r][c];
      columns[c] += table[r][c];
      all += table[r][c];
    }
  }
  for (size_t r = 0; r < table.size(); ++r) {
    for (size_t c = 0; c < columns.size(); ++c) {
      if (columns[c] == 0) continue;
      const double wanted = rows[r] * columns[c] / all;
      sum += (table[r][c] - wanted) * (table[r][c] - wanted) / wanted;
    }
  }
  return sum;
}

// In nats, the mean over clients.
double MeanEntropy(const Table& table) {
  double sum = 0;
  for (const std::vector<double>& row : table) {
    double all = 0;
    for (const double count : row) all += count;
    for (const double count : row) {
      if (count > 0) sum -= count / all * std::log(count / all);
    }
  }
  return sum / static_cast<double>(table.size());
}

// Indices by label, index / 100,000 the label.
IndexLists PoolOf(const std::vector<size_t>& sizes) {
  IndexLists out;
  for (const size_t size : sizes) {
    out.emplace_back();
    for (size_t i = 0; i < size; ++i) {
      out.back().push_back((out.size() - 1) * 100'000 + i);
    }
  }
  return out;
}

// Of the pairs of these examples of PoolOf, the part that shares its label.
double SharedLabels(const std::vector<size_t>& examples) {
  double shared = 0, pairs = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      shared += examples[i] / 100'000 == examples[j] / 100'000 ? 1 : 0;
      ++pairs;
    }
  }
  return shared / pairs;
}

// Bounds of a chi-square variate, from SciPy: 1e-7 on each side.
void ExpectChiSquare(double statistic, int degrees) {
  const auto bounds = testing::ReadVectors(
      "laws.json")["chi_square"]["bounds"][std::to_string(degrees)];
  EXPECT_GT(statistic, bounds[0]) << degrees;
  EXPECT_LT(statistic, bounds[1]) << degrees;
}

// 20 clients by 10 labels, 16 to 64 expected in each cell: 171 degrees of
// freedom. 12 statistics: 2.4e-6.
TEST(PartitionLawsTest, IidAndALargeAlphaLeaveLabelsIndependentOfClients) {
  const Labels labels =
      LabelsOf({320, 320, 480, 640, 640, 800, 960, 1120, 1120, 1280});
  for (const Kind kind : {Kind::kIid, Kind::kDirichlet}) {
    for (const uint64_t seed : kPartitionSeeds) {
      PartitionSpec spec;
      spec.kind = kind;
      spec.alpha = kMaxAlpha;
      spec.seed = seed;
      ExpectChiSquare(ChiSquare(Count(Partitioned(spec, labels, 20), labels)),
                      171);
    }
  }
}

// The last to draw is no worse than the first: over many seeds each client of
// 20 has the label mix of the whole as nearly as another. Sums of 200
// independent statistics, nearly normal: mean 9 * 200 (n / (n - 1) aside, less
// than 0.1 %), deviation at most sqrt(2 * 9 * 200) = 60; six of them, 2e-9
// for each of 20.
TEST(PartitionLawsTest, WithALargeAlphaNoClientIsLeftWithTheRest) {
  const std::vector<size_t> sizes(10, 200);
  const Labels labels = LabelsOf(sizes);
  std::vector<double> sums(20, 0);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    PartitionSpec spec;
    spec.kind = Kind::kDirichlet;
    spec.alpha = kMaxAlpha;
    spec.seed = seed;
    const Table table = Count(Partitioned(spec, labels, 20), labels);
    for (size_t client = 0; client < table.size(); ++client) {
      for (size_t label = 0; label < sizes.size(); ++label) {
        const double off = table[client][label] - 10;
        // A client's draw is a twentieth of the whole, without replacement.
        sums[client] += off * off / 10 / (1 - 1.0 / 20);
      }
    }
  }
  for (const double sum : sums) EXPECT_NEAR(sum, 1800, 360 + 1.8);
}

// make_vectors.py: NumPy's own Dirichlet deal, drawn example by example.
TEST(PartitionLawsTest, DirichletHasTheLabelEntropyThatNumPyFinds) {
  const auto vectors = testing::ReadVectors("laws.json");
  const Labels labels = LabelsOf(vectors["label_sizes"]);
  const double made = vectors["partitions"];
  constexpr uint64_t kPartitions = 25;
  for (const auto& one : vectors["dirichlet"]) {
    PartitionSpec spec;
    spec.kind = Kind::kDirichlet;
    spec.alpha = one["alpha"];
    double sum = 0;
    for (spec.seed = 1; spec.seed <= kPartitions; ++spec.seed) {
      sum += MeanEntropy(
          Count(Partitioned(spec, labels, vectors["clients"]), labels));
    }
    // Five standard errors of the difference of the two means: 6e-7 each.
    const double error = one["deviation"].get<double>() *
                         std::sqrt(1.0 / kPartitions + 1 / made);
    EXPECT_NEAR(sum / kPartitions, one["mean"], 5 * error) << spec.alpha;
  }
}

// Of the first 8 draws of a client from a large pool two share their label with
// the chance E[sum q^2] = (1 + alpha sum p^2) / (alpha + 1).
TEST(PartitionLawsTest, DirichletHasTheClosedFormOfSharedLabels) {
  const IndexLists pool = PoolOf({2000, 3000, 5000, 10000});
  const double squares_of_prior = 0.01 + 0.0225 + 0.0625 + 0.25;
  constexpr uint64_t kRuns = 1500;
  constexpr size_t kPartitionSeeds = 8;
  for (const double alpha : {0.1, 1.0, 10.0}) {
    double sum = 0, squares = 0;
    for (uint64_t seed = 0; seed < kRuns; ++seed) {
      const IndexLists dealt = DealByDirichlet(
          pool, {alpha, std::array<size_t, 1>{kPartitionSeeds}}, Random(seed));
      const double share = SharedLabels(dealt[0]);
      sum += share;
      squares += share * share;
    }
    const double mean = sum / kRuns;
    const double error = std::sqrt((squares / kRuns - mean * mean) / kRuns);
    // Five standard errors, 6e-7 each; 8 of 2,000 examples may be gone.
    EXPECT_NEAR(mean, (1 + alpha * squares_of_prior) / (alpha + 1),
                5 * error + 8.0 / 2000)
        << alpha;
  }
}

// With alpha to 0 a client stays with one label until it runs out. Each label
// that it has beyond its first came when one ran out, and the last of them to
// run out ends the deal: at most clients + labels - 1 pairs. Two of a client's
// weights within e^36 of each other, which could mix them, have a chance of
// about 36 alpha: 36e-9 for each of 120 clients and 5 labels, 2e-5.
TEST(PartitionLawsTest, DirichletWithASmallAlphaGivesNearlyOneLabelEach) {
  const Labels labels = LabelsOf({90, 110, 150, 250, 400});
  for (const uint64_t seed : kPartitionSeeds) {
    PartitionSpec spec;
    spec.kind = Kind::kDirichlet;
    spec.alpha = kMinAlpha;
    spec.seed = seed;
    size_t pairs = 0;
    for (const auto& row : Count(Partitioned(spec, labels, 20), labels)) {
      for (const double count : row) pairs += count > 0 ? 1 : 0;
    }
    EXPECT_LE(pairs, 20u + 5 - 1);
  }
}

// Two shards of one client have one label with chance 3 / 39, where each of 10
// labels is cut into 4 of 40 shards. 500 seeds of 20 clients: 769 wanted. The
// variance is 710 of single clients and, because (9 * 6 + 1) / (38 * 37 / 2) is
// not 3 / 39, 19 of pairs of them: six deviations of 27, 2e-9.
TEST(PartitionLawsTest, ShardsGoToClientsAtRandom) {
  const Labels labels = LabelsOf(std::vector<size_t>(10, 100));
  int alike = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    PartitionSpec spec;
    spec.kind = Kind::kShards;
    spec.seed = seed;
    for (const auto& row : Count(Partitioned(spec, labels, 20), labels)) {
      for (const double count : row) alike += count == 50 ? 1 : 0;
    }
  }
  EXPECT_NEAR(alike, 500 * 20 * 3.0 / 39, 162);
}

// Logarithms of sizes have the deviation asked for. 1,000 clients of 200
// examples on average: rounding to whole ones adds less than 1e-4.
TEST(PartitionLawsTest, SizesAreLogNormal) {
  const Labels labels(200'000);
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    PartitionSpec spec;
    spec.quantity_sigma = 0.5;
    spec.seed = seed;
    double sum = 0, squares = 0;
    for (const ClientExamples& one : Partitioned(spec, labels, 1000)) {
      const double x = std::log(static_cast<double>(one.examples.size()));
      sum += x;
      squares += x * x;
    }
    const double deviation =
        std::sqrt(squares / 1000 - sum / 1000 * (sum / 1000));
    // Standard error 0.5 / sqrt(2000) = 0.0112; six of them: 2e-9.
    EXPECT_NEAR(deviation, 0.5, 0.067) << seed;
  }
}

// Each of 20 owners is among 5 chosen with chance 1 / 4. 19 degrees of freedom;
// the choice is without replacement, hence the factor.
TEST(PartitionLawsTest, NaturalChoosesOwnersAlike) {
  std::map<std::string, double> chosen;
  Labels owners = LabelsOf(std::vector<size_t>(20, 1));
  PartitionSpec spec;
  spec.kind = Kind::kNatural;
  for (spec.seed = 0; spec.seed < 2000; ++spec.seed) {
    for (const ClientExamples& one : Partitioned(spec, owners, 5))
      ++chosen[one.name];
  }
  double sum = 0;
  for (const auto& [name, count] : chosen) {
    sum += (count - 500) * (count - 500) / 500;
  }
  ASSERT_EQ(chosen.size(), 20u);
  ExpectChiSquare(sum * 19 / 15, 19);
}

}  // namespace
}  // namespace edgetune
