#include "simulations/population/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>

#include "base/random.h"
#include "base/status.h"
#include "tests/simulations_population/partitions.h"
#include "tests/simulations_population/vectors.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Labels;
using testing::Partitioned;
using Kind = PartitionSpec::Kind;

constexpr Kind kDealt[] = {Kind::kIid, Kind::kDirichlet, Kind::kShards};

// Labels of uneven frequency in a random order.
Labels RandomLabels(size_t count, uint64_t seed) {
  Random random(seed);
  Labels out;
  for (size_t i = 0; i < count; ++i) {
    out.push_back("label " + std::to_string(random.Below(1 + random.Below(9))));
  }
  return out;
}

std::vector<std::vector<size_t>> ExamplesOf(const Partition& partition) {
  std::vector<std::vector<size_t>> out;
  for (const ClientExamples& one : partition) out.push_back(one.examples);
  return out;
}

void ExpectEachExampleOnce(const Partition& partition, size_t count) {
  std::vector<size_t> all;
  for (const ClientExamples& one : partition) {
    EXPECT_FALSE(one.examples.empty()) << one.name;
    EXPECT_TRUE(std::ranges::is_sorted(one.examples)) << one.name;
    all.insert(all.end(), one.examples.begin(), one.examples.end());
  }
  std::ranges::sort(all);
  std::vector<size_t> wanted(count);
  std::iota(wanted.begin(), wanted.end(), size_t{0});
  EXPECT_EQ(all, wanted);
}

void ExpectRefusal(const PartitionSpec& spec, size_t clients, ErrorKind kind,
                   const std::string& message) {
  const auto partition =
      MakePartition(spec, Labels{"a", "b", "a", "c"}, clients);
  EXPECT_EQ(partition.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KindOf(partition.status()), kind) << partition.status();
  EXPECT_THAT(std::string(partition.status().message()), HasSubstr(message));
}

// make_partitions.py: the rules written a second time. Whoever changes these
// numbers changes every simulation that somebody has kept.
TEST(PartitionTest, EqualsTheStoredPartitions) {
  const auto vectors = testing::ReadVectors("partitions.json");
  const Labels labels = vectors["labels"];
  for (const auto& one : vectors["cases"]) {
    PartitionSpec spec;
    spec.kind = one["kind"] == "iid"      ? Kind::kIid
                : one["kind"] == "shards" ? Kind::kShards
                                          : Kind::kDirichlet;
    spec.seed = one["seed"];
    spec.quantity_sigma = one["sigma"];
    spec.alpha = one["alpha"];
    spec.shards_a_client = one["shards"];
    const std::vector<std::vector<size_t>> wanted = one["examples"];
    EXPECT_EQ(ExamplesOf(Partitioned(spec, labels, one["clients"])), wanted)
        << one["kind"] << " seed " << spec.seed;
  }
}

TEST(PartitionTest, GivesEveryExampleToOneClientAndLeavesNoneEmpty) {
  Random random(5);
  for (int round = 0; round < 300; ++round) {
    PartitionSpec spec;
    spec.kind = kDealt[round % 3];
    spec.seed = random.Next();
    spec.alpha = std::pow(10.0, 18 * random.Uniform() - 9);
    spec.shards_a_client = static_cast<int>(1 + random.Below(4));
    spec.quantity_sigma = random.Below(2) * 5 * random.Uniform();
    const size_t clients = 1 + random.Below(40);
    // As few as a client needs, or more.
    const size_t least =
        clients * (spec.kind == Kind::kShards ? spec.shards_a_client : 1);
    const size_t count = least + random.Below(2) * random.Below(400);
    const Partition partition =
        Partitioned(spec, RandomLabels(count, random.Next()), clients);
    ASSERT_EQ(partition.size(), clients);
    ExpectEachExampleOnce(partition, count);
  }
}

TEST(PartitionTest, DealsEqualSizesUnlessAskedForOthers) {
  for (const Kind kind : kDealt) {
    PartitionSpec spec;
    spec.kind = kind;
    const Partition partition = Partitioned(spec, RandomLabels(1003, 1), 20);
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(partition[i].examples.size(), i < 3 ? 51u : 50u);
    }
  }
}

TEST(PartitionTest, IsTheSameEachTimeAndAnotherWithAnotherSeed) {
  const Labels labels = RandomLabels(500, 2);
  for (const Kind kind : kDealt) {
    PartitionSpec spec;
    spec.kind = kind;
    spec.quantity_sigma = 0.5;
    const auto one = ExamplesOf(Partitioned(spec, labels, 9));
    EXPECT_EQ(ExamplesOf(Partitioned(spec, labels, 9)), one);
    spec.seed = 2;
    EXPECT_NE(ExamplesOf(Partitioned(spec, labels, 9)), one);
  }
}

TEST(PartitionTest, NamesClientsByNumberAndByTheirMainLabel) {
  PartitionSpec spec;
  const Partition one = Partitioned(spec, Labels{"b", "a", "b", "c"}, 1);
  EXPECT_EQ(one[0].name, "client-0001");
  EXPECT_EQ(one[0].main_label, "b");
  // Of equal counts the first by bytes.
  EXPECT_EQ(Partitioned(spec, Labels{"c", "b", "c", "b"}, 1)[0].main_label,
            "b");
  EXPECT_EQ(Partitioned(spec, Labels{"", ""}, 2)[1].main_label, "");
}

// 10 labels of 100 examples cut into 40 shards of 25: a shard has one label.
TEST(PartitionTest, ShardsHoldAsManyLabelsAsTheyAre) {
  Labels labels;
  for (size_t i = 0; i < 1000; ++i) labels.push_back(std::to_string(i % 10));
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    PartitionSpec spec;
    spec.kind = Kind::kShards;
    spec.seed = seed;
    for (const ClientExamples& one : Partitioned(spec, labels, 20)) {
      std::map<std::string, size_t> counts;
      for (const size_t i : one.examples) ++counts[labels[i]];
      EXPECT_LE(counts.size(), 2u);
      for (const auto& [label, count] : counts) EXPECT_EQ(count % 25, 0u);
    }
  }
}

TEST(PartitionTest, NaturalGivesEachOwnerItsOwnExamples) {
  PartitionSpec spec;
  spec.kind = Kind::kNatural;
  const Labels owners = {"ann", "b/b", "ann", "cy", "b/b"};
  Partition partition = Partitioned(spec, owners, 3);
  ExpectEachExampleOnce(partition, owners.size());
  std::ranges::sort(partition, {}, &ClientExamples::name);
  EXPECT_EQ(partition[0].name, "ann");
  EXPECT_THAT(partition[0].examples, ElementsAre(0, 2));
  EXPECT_EQ(partition[1].name, "b_b");
  EXPECT_EQ(partition[1].main_label, "b/b");
  EXPECT_THAT(partition[1].examples, ElementsAre(1, 4));
  EXPECT_THAT(partition[2].examples, ElementsAre(3));
}

TEST(PartitionTest, NaturalWithFewerClientsTakesTheFirstOfASeededOrder) {
  PartitionSpec spec;
  spec.kind = Kind::kNatural;
  Labels owners;
  for (size_t i = 0; i < 600; ++i) owners.push_back(std::to_string(i % 60));
  const Partition all = Partitioned(spec, owners, 60);
  const Partition few = Partitioned(spec, owners, 7);
  ASSERT_EQ(few.size(), 7u);
  for (size_t i = 0; i < few.size(); ++i) {
    EXPECT_EQ(few[i].name, all[i].name);
    EXPECT_EQ(few[i].examples, all[i].examples);
  }
  spec.seed = 2;
  // 1 in 60!/53!, about 2e12, to be the same by chance.
  EXPECT_NE(ExamplesOf(Partitioned(spec, owners, 7)), ExamplesOf(few));
}

TEST(PartitionTest, RefusesMoreClientsThanThereIsSomethingFor) {
  PartitionSpec spec;
  ExpectRefusal(spec, 0, ErrorKind::kData, "0 clients, wanted at least 1");
  ExpectRefusal(spec, 5, ErrorKind::kData,
                "5 clients for 4 examples, but each needs 1");
  spec.kind = Kind::kDirichlet;
  ExpectRefusal(spec, 5, ErrorKind::kData, "5 clients for 4 examples");
  spec.kind = Kind::kShards;
  ExpectRefusal(spec, 3, ErrorKind::kData,
                "3 clients for 4 examples, but each needs 2");
  spec.kind = Kind::kNatural;
  ExpectRefusal(spec, 4, ErrorKind::kData,
                "4 clients, but the data has 3 owners");
  ExpectRefusal(spec, 0, ErrorKind::kData, "0 clients");
}

TEST(PartitionTest, RefusesNumbersOutOfTheirRange) {
  PartitionSpec spec;
  spec.kind = Kind::kDirichlet;
  for (const double alpha :
       {0.0, -1.0, 1e-10, 1e10, std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN()}) {
    spec.alpha = alpha;
    ExpectRefusal(spec, 2, ErrorKind::kConfig, "alpha is ");
  }
  spec.kind = Kind::kShards;
  spec.shards_a_client = 0;
  ExpectRefusal(spec, 2, ErrorKind::kConfig,
                "shards of a client are 0, wanted 1 or more");
  spec.kind = Kind::kIid;
  for (const double sigma :
       {-0.1, 5.1, std::numeric_limits<double>::quiet_NaN()}) {
    spec.quantity_sigma = sigma;
    ExpectRefusal(spec, 2, ErrorKind::kConfig, "quantity_sigma is");
  }
  spec.kind = Kind::kNatural;
  spec.quantity_sigma = 0.5;
  ExpectRefusal(spec, 2, ErrorKind::kConfig, "sizes of their own");
}

TEST(PartitionTest, RefusesTextsAsLabelsOfADirichletPartition) {
  Labels labels;
  for (size_t i = 0; i <= kMaxDirichletLabels; ++i) {
    labels.push_back(std::to_string(i));
  }
  PartitionSpec spec;
  spec.kind = Kind::kDirichlet;
  const auto partition = MakePartition(spec, labels, 2);
  EXPECT_THAT(std::string(partition.status().message()),
              HasSubstr("10001 different labels, a Dirichlet partition takes "
                        "at most 10000"));
}

}  // namespace
}  // namespace edgetune
