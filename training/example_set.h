#ifndef EDGETUNE_TRAINING_EXAMPLE_SET_H_
#define EDGETUNE_TRAINING_EXAMPLE_SET_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "training/example_source.h"

namespace edgetune {

struct DataReport {
  std::string schema;      // detected
  int64_t examples = 0;    // usable
  int64_t truncated = 0;   // cut to max_length
  int64_t label_less = 0;  // left out: no labelled token (after the cut)
  int64_t specials_in_content = 0;  // "<|im_start|>" and the like, as text
  int64_t labelled_tokens = 0;
  int64_t other_files = 0;  // left out: of no kind that is read
};
// What of it a user should know about, "; 3 cut, ...", or "".
std::string RemarksOf(const DataReport& report);

// Examples in memory, whatever they were read from (text_data_set.h,
// image_data_set.h). Immutable, thread-safe.
class ExampleSet final : public ExampleSource {
 public:
  struct Parts {
    std::vector<LabelledTokens> examples = {};
    std::vector<int64_t> positions = {};  // as many: see PositionOf
    DataReport report = {};
    // What the examples borrow from: lives as long as any set of them.
    std::shared_ptr<const void> lender = nullptr;
    // Null: none; and where each example's begin, as many as examples.
    std::shared_ptr<const TeacherTargets> targets = nullptr;
    std::vector<int64_t> first_targets = {};
  };
  explicit ExampleSet(Parts parts) : parts_(std::move(parts)) {}

  int64_t size() const override {
    return static_cast<int64_t>(parts_.examples.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return parts_.examples[static_cast<size_t>(index)];
  }
  const TeacherTargets* targets() const override {
    return parts_.targets.get();
  }
  int64_t FirstTarget(int64_t index) const override {
    return parts_.first_targets[static_cast<size_t>(index)];
  }
  const DataReport& report() const { return parts_.report; }
  // Which of the examples (or blocks) that were read this one is, from 0:
  // those without a label were left out.
  int64_t PositionOf(int64_t index) const {
    return parts_.positions[static_cast<size_t>(index)];
  }

  // The examples with these indices, in this order.
  std::unique_ptr<ExampleSet> Select(std::span<const size_t> indices) const;
  // The same examples with what a teacher says of them, in order.
  std::unique_ptr<ExampleSet> WithTargets(
      std::shared_ptr<const TeacherTargets> targets) const;
  // The same places with other examples in them, as many and in this order,
  // without targets.
  std::unique_ptr<ExampleSet> WithExamples(
      std::vector<LabelledTokens> examples) const;
  // {to train on, held out}: the last round(fraction * size) examples of a
  // seeded shuffle are held out; both have at least one example unless
  // fraction is 0 or there is but one (then nothing is held out).
  std::pair<std::unique_ptr<ExampleSet>, std::unique_ptr<ExampleSet>> Split(
      double fraction, uint64_t seed) const;

 private:
  const Parts parts_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_EXAMPLE_SET_H_
