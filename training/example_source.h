#ifndef EDGETUNE_TRAINING_EXAMPLE_SOURCE_H_
#define EDGETUNE_TRAINING_EXAMPLE_SOURCE_H_

#include <cstdint>

#include "models/io/chat_template.h"

namespace edgetune {

// Examples by position. Immutable, thread-safe. An example has at least one
// labelled token after its first.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual int64_t size() const = 0;
  virtual const LabelledTokens& Get(int64_t index) const = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_EXAMPLE_SOURCE_H_
