#ifndef EDGETUNE_TRAINING_DISTILLATION_TEACHER_H_
#define EDGETUNE_TRAINING_DISTILLATION_TEACHER_H_

// A large language model that is asked what it thinks, and nothing else. Plain
// structs: no engine, no files.

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "training/distillation/targets.h"
#include "training/example_source.h"
#include "training/trainer.h"

namespace edgetune {

// One frozen model over the tokens of a student: where these are some of its
// own, its probabilities are renormalised over them. Examples are the
// student's. Errors of both: InvalidArgument, an example that does not fit
// student or teacher; DataLoss, logits that are no numbers; Cancelled, stopped;
// ResourceExhausted. One thread at a time.
class Teacher {
 public:
  virtual ~Teacher() = default;

  // As Trainer::Evaluate.
  virtual absl::StatusOr<Evaluation> Evaluate(const ExampleSource& examples,
                                              int64_t max_examples,
                                              const StopToken& stop) = 0;

  // Gives `take` the k likeliest of each labelled position, in order; what it
  // returns ends this unless OK. `progress`, which may be empty, is told how
  // many positions are done. Besides: InvalidArgument (kConfig), a k not in [1,
  // vocabulary], a temperature that cannot be.
  virtual absl::Status ComputeTargets(
      const ExampleSource& examples, double temperature, int64_t k,
      const std::function<absl::Status(const TopTokens&)>& take,
      const StopToken& stop, const std::function<void(int64_t)>& progress) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_TEACHER_H_
