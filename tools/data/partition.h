#ifndef EDGETUNE_TOOLS_DATA_PARTITION_H_
#define EDGETUNE_TOOLS_DATA_PARTITION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"

namespace edgetune {

struct PartitionOptions {
  enum class By { kIid, kField, kDirichlet } by = By::kIid;
  size_t clients = 1;
  double alpha = 0.5;  // of kDirichlet: small is uneven
  uint64_t seed = 1;
};

// The client, 0 to clients - 1, of each example. `values`: the number of each
// example's field value, from 0; any numbers for kIid.
//
//   kIid        shuffled and dealt out in turn
//   kField      all examples of a value to one client: the largest value first,
//               each to the client that has fewest so far
//   kDirichlet  the examples of each value by shares drawn from
//               Dirichlet(alpha, ..., alpha) (Hsu, Qi, Brown, 2019), all drawn
//               again, at most 100 times, until every client has two examples
//
// A function of its arguments alone. InvalidArgument (kUsage): some client
// would have fewer than two examples.
absl::StatusOr<std::vector<size_t>> ClientsOfExamples(
    const std::vector<size_t>& values, const PartitionOptions& options);

// Shares that sum to 1, from the symmetric Dirichlet distribution.
std::vector<double> DrawDirichlet(size_t parts, double alpha, Random& random);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_DATA_PARTITION_H_
