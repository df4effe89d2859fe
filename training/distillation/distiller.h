#ifndef EDGETUNE_TRAINING_DISTILLATION_DISTILLER_H_
#define EDGETUNE_TRAINING_DISTILLATION_DISTILLER_H_

// The interface between whoever makes a small language model (the student)
// learn from a larger one (the teacher) and the engine that does it. Plain
// structs: no LibTorch, no files.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "training/checkpoint_store.h"
#include "training/distillation/teacher.h"
#include "training/example_source.h"
#include "training/trainer.h"

namespace edgetune {

// What is minimised at each labelled position, averaged over them, with the
// temperature T (Hinton, Vinyals, Dean, 2015):
//
//   alpha T^2 KL(teacher at T || student at T) + (1 - alpha) cross entropy
//     + entropy * entropy of the student + hidden * mean squared difference of
//     the last hidden states (the student's through a matrix that is trained
//     beside it and thrown away, where the widths differ)
struct DistillationConfig {
  double temperature = 2;
  double alpha = 0.5;
  double entropy = 0;
  double hidden = 0;
  // Weights of the student that begin as zero stay so: its sparsity is kept.
  bool keep_zeros = false;

  // Whether a cache of the teacher's likeliest tokens cannot do.
  bool NeedsTeacher() const { return hidden > 0; }
};
// InvalidArgument (kConfig): a number that is none, a temperature not in
// [0.01, 100], an alpha not in [0, 1], a weight below 0.
absl::Status CheckDistillationConfig(const DistillationConfig& config);

// Examples that the student is scored on while it learns. Not owned.
struct HeldOut {
  const ExampleSource* examples = nullptr;  // null: none
  int64_t every = 0;                        // steps; 0: never
  int64_t most = 0;                         // examples; 0: all
  std::function<void(int64_t step, const Evaluation&)> measured;
};

struct DistilledStudent {
  ParameterVector weights;  // what the student has become
  // As of Trainer; losses are those of DistillationConfig, `delta` is empty.
  TrainResult result;
};

// One teacher, frozen, and one shape of student, all of whose weights are
// trained. Weights come and go as flat vectors in the order of TextLayoutOf
// (models/io/text_weights.h). The teacher's weights are read when they are
// first needed. Errors of both: InvalidArgument, an example or weights that do
// not fit student or teacher; Cancelled, stopped; ResourceExhausted. One thread
// at a time.
class Distiller {
 public:
  virtual ~Distiller() = default;

  // As Trainer::Evaluate, of a student with these weights.
  virtual absl::StatusOr<Evaluation> Evaluate(std::span<const float> weights,
                                              const ExampleSource& examples,
                                              int64_t max_examples,
                                              const StopToken& stop) = 0;

  // From `weights` (consumed) on. Where the examples have targets
  // (ExampleSource::targets) the teacher is not asked. `checkpoints`, `stop`,
  // `progress` as of Trainer::Train. Besides: FailedPrecondition, targets of
  // another temperature or another number of positions.
  virtual absl::StatusOr<DistilledStudent> Train(
      ParameterVector weights, const ExampleSource& examples,
      const TrainConfig& train, const DistillationConfig& config,
      const HeldOut& held_out, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_DISTILLER_H_
