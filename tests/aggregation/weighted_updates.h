#ifndef EDGETUNE_TESTS_AGGREGATION_WEIGHTED_UPDATES_H_
#define EDGETUNE_TESTS_AGGREGATION_WEIGHTED_UPDATES_H_

// Updates as aggregators take them.

#include <gtest/gtest.h>

#include <memory>
#include <span>

#include "aggregation/aggregator.h"
#include "base/parameters.h"

namespace edgetune::testing {

struct Update {
  ParameterVector values;
  double weight;
};

// The aggregator with all updates in it.
inline std::unique_ptr<Aggregator> Accumulated(
    std::unique_ptr<Aggregator> aggregator, std::span<const Update> updates) {
  for (const Update& update : updates) {
    EXPECT_TRUE(aggregator->Accumulate(update.values, update.weight).ok());
  }
  return aggregator;
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_AGGREGATION_WEIGHTED_UPDATES_H_
