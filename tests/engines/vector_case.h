#ifndef EDGETUNE_TESTS_ENGINES_VECTOR_CASE_H_
#define EDGETUNE_TESTS_ENGINES_VECTOR_CASE_H_

// A comparison with another implementation: a directory that holds case.json
// (adapter, examples, training settings and, when stored, what the other one
// computed) and vectors as raw little-endian float32 (*.f32), flat in layout
// order. tests/oracles/ makes such directories. Torch-free.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"
#include "training/distillation/targets.h"
#include "training/example_source.h"
#include "training/trainer.h"

namespace edgetune::testing {

// Examples held in a vector.
class ListSource final : public ExampleSource {
 public:
  explicit ListSource(std::vector<LabelledTokens> examples = {})
      : examples_(std::move(examples)) {}
  int64_t size() const override {
    return static_cast<int64_t>(examples_.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return examples_[static_cast<size_t>(index)];
  }

 private:
  std::vector<LabelledTokens> examples_;
};

// Examples, and what a teacher might say of them. Borrows both.
class TaughtSource final : public ExampleSource {
 public:
  TaughtSource(const ExampleSource& examples, const TeacherTargets& targets)
      : examples_(examples), targets_(targets) {}
  int64_t size() const override { return examples_.size(); }
  const LabelledTokens& Get(int64_t index) const override {
    return examples_.Get(index);
  }
  const TeacherTargets* targets() const override { return &targets_; }
  int64_t FirstTarget(int64_t index) const override {
    return PositionsBefore(examples_, index);
  }

 private:
  const ExampleSource& examples_;
  const TeacherTargets& targets_;
};

struct VectorCase {
  Adapter adapter;
  ListSource examples;
  TrainConfig train;                           // batch: all examples
  double loss = 0;                             // mean over labelled tokens
  std::vector<double> losses;                  // of each training step
  std::vector<std::vector<double>> log_probs;  // base + adapter, per example
};

absl::StatusOr<VectorCase> ReadVectorCase(const std::string& directory,
                                          const ModelConfig& model);
absl::StatusOr<ParameterVector> ReadFloats(const std::string& path);

// Largest |got - wanted| of one tensor over its largest |wanted|; the worst
// tensor of the layout.
double WorstTensorError(const ParameterLayout& layout,
                        const ParameterVector& got,
                        const ParameterVector& wanted);
// |got - wanted| / |wanted|.
double RelativeError(const ParameterVector& got, const ParameterVector& wanted);

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_ENGINES_VECTOR_CASE_H_
