#ifndef EDGETUNE_TRAINING_DISTILLATION_TARGETS_H_
#define EDGETUNE_TRAINING_DISTILLATION_TARGETS_H_

// What a teacher says of examples, as those who learn from it read it. Plain
// structs: no engine, no files.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "training/example_source.h"

namespace edgetune {

// A teacher's k likeliest tokens at one position (of the student's vocabulary,
// ascending), with natural logarithms of their probabilities at the
// temperature, and that of all others together (-inf: there are none).
struct TopTokens {
  std::vector<int32_t> ids;
  std::vector<float> log_probabilities;
  float log_rest = 0;
};

// The likeliest tokens at all labelled positions of the examples one after the
// other, computed before (of images: classes). Immutable, thread-safe.
class TeacherTargets {
 public:
  virtual ~TeacherTargets() = default;
  virtual int64_t k() const = 0;
  virtual int64_t positions() const = 0;
  virtual double temperature() const = 0;
  // Of the whole, for checkpoints.
  virtual std::string digest() const = 0;
  // Every field of `out`. 0 <= position < positions().
  virtual void Read(int64_t position, TopTokens& out) const = 0;
};

// Targets in memory. Append before anybody else has it, then immutable.
class HeldTargets final : public TeacherTargets {
 public:
  HeldTargets(double temperature, int64_t k)
      : temperature_(temperature), k_(k) {}

  // Of the next position: k tokens.
  void Append(const TopTokens& row);

  int64_t k() const override { return k_; }
  int64_t positions() const override {
    return static_cast<int64_t>(rest_.size());
  }
  double temperature() const override { return temperature_; }
  std::string digest() const override;
  void Read(int64_t position, TopTokens& out) const override;

 private:
  const double temperature_;
  const int64_t k_;
  std::vector<int32_t> ids_;              // [N,k]
  std::vector<float> log_probabilities_;  // [N,k]
  std::vector<float> rest_;               // [N]
};

// Which rows of the targets are each example's. Borrows both; immutable,
// thread-safe.
class TargetRows {
 public:
  // Null: these examples have no targets. FailedPrecondition: an example with
  // more positions than there are targets.
  static absl::StatusOr<std::unique_ptr<const TargetRows>> Of(
      const ExampleSource& examples);

  const TeacherTargets& targets() const { return targets_; }
  // use(row) for all labelled positions of some of the examples, in the order
  // of ForTargets (local_training.h).
  template <typename Use>
  void ForRows(std::span<const LabelledTokens* const> examples,
               const Use& use) const {
    TopTokens row;
    for (const LabelledTokens* example : examples) {
      const int64_t begin = first_.at(example);
      for (int64_t i = 0; i < PredictedLabels(*example); ++i) {
        targets_.Read(begin + i, row);
        use(row);
      }
    }
  }

 private:
  explicit TargetRows(const TeacherTargets& targets) : targets_(targets) {}

  const TeacherTargets& targets_;
  std::unordered_map<const LabelledTokens*, int64_t> first_;
};

// Labelled positions of the first `count` examples, and of all.
int64_t PositionsBefore(const ExampleSource& examples, int64_t count);
int64_t PositionsOf(const ExampleSource& examples);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_TARGETS_H_
