#ifndef EDGETUNE_TRAINING_TRAINER_H_
#define EDGETUNE_TRAINING_TRAINER_H_

// The interface between whatever runs a client's local work and the engine
// that does it. Plain structs: no protobuf, no network, no privacy.

#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/factors.h"
#include "base/parameters.h"
#include "base/rank_slices.h"
#include "models/io/adapter/adapter_file.h"
#include "models/step_profile.h"
#include "training/checkpoint_store.h"
#include "training/example_source.h"

namespace edgetune {

// Of products with frozen weights. kInt8: those of the decoder in 8 bits both
// ways, the rest as kAuto has it; the fused engine alone.
enum class Precision { kAuto, kFp32, kBf16, kInt8 };
enum class Schedule { kConstant, kCosine };
enum class OptimizerKind { kAdamW, kSgd };

// One segment of training: `steps` optimiser steps of round `round` (of
// `rounds`). The optimiser starts fresh in every segment; the learning-rate
// schedule runs over round * steps + i of rounds * steps (decisions 12).
//
// What is minimised is the mean loss over labelled tokens, plus prox_mu / 2
// times the squared distance from the incoming adapter (Li et al. 2020,
// "Federated Optimization in Heterogeneous Networks", FedProx, eq. 2). The
// losses that are reported are without that term. `correction` is added to each
// gradient after it (SCAFFOLD's c - c_i, base/control_variates.h).
struct TrainConfig {
  double lr = 1e-3;
  int64_t steps = 1;  // optimiser steps in this segment
  // Above 0: the segment is so many passes over the examples, each of which it
  // takes exactly so often; `steps` is what that needs (EpochSteps), or fewer.
  int64_t epochs = 0;
  int64_t batch = 8;  // examples a step; with epochs the last has the rest
  int64_t micro_batch = 4;  // examples a forward pass
  Schedule schedule = Schedule::kConstant;
  // Of linear warm-up, over the whole run: steps, with epochs passes.
  int64_t warmup = 0;
  double grad_clip = 1.0;  // global L2 norm, of all that is minimised; 0: none
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double momentum = 0;      // of kSgd, in [0, 1)
  double weight_decay = 0;  // decoupled (kAdamW) or an L2 term (kSgd)
  double prox_mu = 0;
  // As many as are trained, borrowed for the call; empty: none.
  std::span<const float> correction = {};
  // Share of the teacher in the loss where examples have targets
  // (ExampleSource::targets), in [0, 1]; the rest is the labels'. The part that
  // DistillationConfig calls alpha.
  double teacher_alpha = 0.5;
  uint64_t seed = 1;  // with `round` decides the order of examples
  int64_t round = 0;  // from 0
  int64_t rounds = 1;
  // What is trained; of an adapter with cores kCore. The other factor stays and
  // has neither gradient nor moments, so that grad_clip and weight_decay do not
  // see it.
  Factors factors = Factors::kBoth;
  // Rank slices at the adapter's end (base/rank_slices.h) that stay too; with
  // kBoth alone, fewer than the adapter has.
  int64_t frozen_rank = 0;
  bool profile = false;  // TrainResult::profile is wanted
};

// What of an adapter of this layout is trained, and where it stands there.
inline ParameterLayout TrainedLayout(const ParameterLayout& adapter,
                                     const TrainConfig& config) {
  if (config.frozen_rank == 0) return LayoutOf(adapter, config.factors);
  return LayoutOfRank(adapter, SliceCount(adapter) - config.frozen_rank);
}
inline std::vector<CoordinateRange> TrainedRanges(
    const ParameterLayout& adapter, const TrainConfig& config) {
  if (config.frozen_rank == 0) return RangesOf(adapter, config.factors);
  return SliceRanges(adapter, SliceCount(adapter) - config.frozen_rank);
}

struct Evaluation {
  double nll_sum = 0;  // natural log, over labelled tokens
  int64_t tokens = 0;  // labelled
  // Of these, told right by the likeliest class; counted of images alone.
  int64_t correct = 0;
};
inline double PerplexityOf(const Evaluation& evaluation) {
  return std::exp(evaluation.nll_sum / static_cast<double>(evaluation.tokens));
}

struct TrainProgress {
  int64_t step = 0;  // finished
  int64_t steps = 0;
  double loss = 0;             // mean over labelled tokens of this step
  double tokens_a_second = 0;  // all input tokens
};

struct TrainResult {
  // Final - incoming adapter: the coordinates of TrainedLayout, in that order.
  ParameterVector delta;
  double first_loss = 0, last_loss = 0;
  int64_t steps = 0;    // done; fewer than asked when stopped
  int64_t resumed = 0;  // of them done before, found in a checkpoint
  int64_t tokens = 0;
  double seconds = 0;  // of work, with that before
  bool stopped = false;
  // Where the time went, if asked for; the reference engine does not measure.
  std::optional<StepProfile> profile;
};

using StopToken = std::atomic<bool>;

// Holds one frozen base model; adapters come and go. What is said of tokens is
// so of a model of images for its classes: one label an image. One instance
// belongs to one thread at a time.
class Trainer {
 public:
  virtual ~Trainer() = default;

  virtual const ModelConfig& model() const = 0;
  // The precision that kAuto became on this machine: "fp32", "bf16", "int8".
  virtual std::string precision() const = 0;

  // Scores up to max_examples of `examples` (all when 0), chosen by position:
  // the first ones. `stop` is looked at between batches. InvalidArgument:
  // layout mismatch. Cancelled: stopped; part of a score is none.
  virtual absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                              const ExampleSource& examples,
                                              int64_t max_examples,
                                              const StopToken& stop) = 0;

  // `stop` is looked at between optimiser steps: training then ends early
  // with what was done. With `checkpoints` (borrowed; null: nothing is kept) it
  // goes on where the same segment was saved last, to the same bits as without
  // a stop: what another segment, engine or version saved is left aside.
  // `progress` may be empty. InvalidArgument: layout mismatch, no labelled
  // example. Aborted: the loss is not finite.
  virtual absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TRAINER_H_
