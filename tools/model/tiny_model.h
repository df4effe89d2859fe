#ifndef EDGETUNE_TOOLS_MODEL_TINY_MODEL_H_
#define EDGETUNE_TOOLS_MODEL_TINY_MODEL_H_

#include <cstdint>
#include <span>

namespace edgetune {

// The file models/tiny/edgetune-tiny.gguf, which this program carries: a model
// without a network. Constant, thread-safe.
std::span<const uint8_t> TinyModelFile();

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_TINY_MODEL_H_
