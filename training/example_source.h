#ifndef EDGETUNE_TRAINING_EXAMPLE_SOURCE_H_
#define EDGETUNE_TRAINING_EXAMPLE_SOURCE_H_

#include <algorithm>
#include <cstdint>

#include "models/io/chat_template.h"

namespace edgetune {

class TeacherTargets;  // distillation/teacher.h

// Labelled tokens that something predicts: all but the first, and that too
// where an image stands before it.
inline int64_t PredictedLabels(const LabelledTokens& example) {
  if (example.labelled.empty()) return 0;
  return std::count(example.labelled.begin() + (example.image.empty() ? 1 : 0),
                    example.labelled.end(), 1);
}

// Examples by position, texts or images. Immutable, thread-safe. An example has
// at least one label that something predicts.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual int64_t size() const = 0;
  virtual const LabelledTokens& Get(int64_t index) const = 0;
  // What a teacher says at every label that something predicts: whoever trains
  // on these examples learns from it too (TrainConfig::teacher_alpha). Null:
  // there are labels alone.
  virtual const TeacherTargets* targets() const { return nullptr; }
  // Where an example's targets begin in those, one a label after the other.
  virtual int64_t FirstTarget(int64_t /*index*/) const { return 0; }
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_EXAMPLE_SOURCE_H_
