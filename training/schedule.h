#ifndef EDGETUNE_TRAINING_SCHEDULE_H_
#define EDGETUNE_TRAINING_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "training/trainer.h"

namespace edgetune {

// InvalidArgument (kConfig): a field of `config` no training can run with.
absl::Status CheckTrainConfig(const TrainConfig& config);

// Optimiser steps that config.epochs passes over so many examples need:
// ceil(epochs * examples / batch).
int64_t EpochSteps(const TrainConfig& config, int64_t examples);

// Learning rate of step `step` of this segment. Over the whole run, with t =
// round * steps + step of T = rounds * steps and warm-up w: lr (t+1)/w while t
// < w; after that lr, or with a cosine lr (1 + cos(pi (t-w)/(T-w))) / 2
// (Loshchilov, Hutter, 2017). With epochs w is the steps that the passes of
// warm-up need, rounded up: devices with unequal examples, hence steps, are at
// the same rate at the same share of the run.
double LearningRate(const TrainConfig& config, int64_t step);

// Which examples a step trains on: a function of seed, round, step and batch
// alone. Example p of the whole run (p = (round * steps + step) * batch + j)
// is the (p mod n)-th of the pass p / n, and every pass over the n examples
// has its own order: rounds go on where the one before ended, and each
// example comes once before any comes twice. With epochs E a round has E whole
// passes (p = round * E * n + step * batch + j) and its last batch what is
// left.
class ExampleOrder {
 public:
  ExampleOrder(uint64_t seed, int64_t examples)
      : seed_(seed), examples_(examples) {}

  std::vector<int64_t> Batch(const TrainConfig& config, int64_t step);

 private:
  int64_t At(int64_t position);

  const uint64_t seed_;
  const int64_t examples_;
  int64_t pass_ = -1;  // the one in order_
  std::vector<int64_t> order_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_SCHEDULE_H_
