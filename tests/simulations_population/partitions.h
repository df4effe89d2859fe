#ifndef EDGETUNE_TESTS_SIMULATIONS_POPULATION_PARTITIONS_H_
#define EDGETUNE_TESTS_SIMULATIONS_POPULATION_PARTITIONS_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "simulations/population/partition.h"

namespace edgetune::testing {

using Labels = std::vector<std::string>;

// Empty, and a failure of the test, where it cannot be made.
inline Partition Partitioned(const PartitionSpec& spec, const Labels& labels,
                             size_t clients) {
  const auto partition = MakePartition(spec, labels, clients);
  EXPECT_TRUE(partition.ok()) << partition.status();
  return partition.value_or(Partition());
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_POPULATION_PARTITIONS_H_
