#ifndef EDGETUNE_SIMULATIONS_POPULATION_PARTITION_H_
#define EDGETUNE_SIMULATIONS_POPULATION_PARTITION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// How the examples of one data set are dealt to simulated clients. A plain
// value.
struct PartitionSpec {
  enum class Kind {
    kIid,        // at random
    kDirichlet,  // each client has a mix of labels of its own
    kShards,     // each client has a few pieces of the data sorted by label
    kNatural,    // each client has the examples of one owner
  };
  Kind kind = Kind::kIid;
  // Of a JSON line: what holds the label, or for kNatural the owner. Not looked
  // at by MakePartition, whose labels ReadLabels takes from it.
  std::string field;
  // kDirichlet: from kMinAlpha (nearly one label a client) to kMaxAlpha (nearly
  // the mix of the whole).
  double alpha = 0.5;
  int shards_a_client = 2;  // kShards: at least 1
  // Sizes of clients are in proportion to exp(quantity_sigma z), z standard
  // normal: 0 to kMaxQuantitySigma, 0 is equal sizes. 0 for kNatural.
  double quantity_sigma = 0;
  uint64_t seed = 1;
};

inline constexpr double kMinAlpha = 1e-9;
inline constexpr double kMaxAlpha = 1e9;
inline constexpr double kMaxQuantitySigma = 5;
// Of kDirichlet: more labels are no labels but texts or ids.
inline constexpr size_t kMaxDirichletLabels = 10000;

// What one client holds.
struct ClientExamples {
  std::string name;  // client_names.h
  // The most frequent of its labels, of equal ones the first by bytes. As it
  // stands in the data: to be escaped where people read it.
  std::string main_label;
  std::vector<size_t> examples;  // indices, ascending, at least one
};
using Partition = std::vector<ClientExamples>;

// A pure function: the same arguments give the same partition on every machine
// whose mathematical functions round alike; where they differ in a last bit, a
// comparison could, at about one in 10^15 draws, turn out otherwise.
//
// `labels`: one for each example; for kIid empty texts will do. Every example
// goes to exactly one client and none is without, but for kNatural with fewer
// clients than owners.
//
// kIid: a random permutation, cut. Sizes differ by at most 1 when
//   quantity_sigma is 0.
// kDirichlet: Hsu, Qi, Brown, "Measuring the effects of non-identical data
//   distribution for federated visual classification", arXiv:1909.06335, 2019:
//   q ~ Dir(alpha p) for each client, p the shares of labels in the whole; see
//   dirichlet_deal.h. The size of each client is fixed, at least 1, before the
//   first draw, so none is empty.
// kShards: McMahan et al., "Communication-efficient learning of deep networks
//   from decentralized data", AISTATS 2017, section 3: examples sorted by label
//   (by bytes, at random within one), cut into clients * shards_a_client
//   shards, shards_a_client of them to each client at random. With
//   quantity_sigma the shards of a client are as large as its share asks.
// kNatural: one client an owner, in a seeded order of which fewer clients take
//   the first: client i is the same whatever their number.
//
// InvalidArgument: kConfig (a number of the spec out of its range, quantity
// skew of owners), kData (no client, more clients than examples, shards or
// owners; more labels than kMaxDirichletLabels), naming both numbers.
absl::StatusOr<Partition> MakePartition(const PartitionSpec& spec,
                                        std::span<const std::string> labels,
                                        size_t clients);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_PARTITION_H_
