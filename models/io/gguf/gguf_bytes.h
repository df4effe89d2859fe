#ifndef EDGETUNE_MODELS_IO_GGUF_GGUF_BYTES_H_
#define EDGETUNE_MODELS_IO_GGUF_GGUF_BYTES_H_

// What the reader and the writer of GGUF files share. Stateless.

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace edgetune {

inline constexpr size_t kMaxNameLength = 63;  // of a tensor

// What lies at `p`, aligned or not.
template <typename T>
T LoadAs(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_GGUF_GGUF_BYTES_H_
