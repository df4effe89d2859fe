#ifndef EDGETUNE_SIMULATIONS_POPULATION_DIRICHLET_DEAL_H_
#define EDGETUNE_SIMULATIONS_POPULATION_DIRICHLET_DEAL_H_

#include <cstddef>
#include <span>
#include <vector>

#include "base/random.h"

namespace edgetune {

using IndexLists = std::vector<std::vector<size_t>>;

struct DirichletDeal {
  double alpha = 1;  // above 0
  std::span<const size_t>
      sizes;  // of each client; all together at most the examples
};

// Deals examples, listed by label (no label without one), to clients: lists by
// client, unsorted. Stateless; time about n log n for n examples, and
// (clients + labels) * labels.
//
// After Hsu et al. 2019 (partition.h): client c has a mix q ~ Dir(alpha p), p
// the shares of labels, and draws a label by q and an example of it, without
// replacement. The paper leaves open what becomes of the last clients, whose
// labels run out. Here the draw is of all examples of the label, and one that
// is taken is drawn again, label and all: an example's chance is as q / p among
// those left (Wallenius' distribution), so that with alpha to infinity the deal
// becomes the one at random, for the last client as for the first. Labels
// without an example left go from q. Clients draw one after the other in a
// random order, so that a client's number says nothing of its turn.
IndexLists DealByDirichlet(IndexLists by_label, const DirichletDeal& deal,
                           const Random& random);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_DIRICHLET_DEAL_H_
