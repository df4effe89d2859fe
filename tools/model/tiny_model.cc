#include "tools/model/tiny_model.h"

// GNU as, as GCC and Clang know it: C++20 has no way to include a file's bytes.
asm(".section .rodata\n"
    ".balign 64\n"
    "edgetune_tiny_begin:\n"
    ".incbin \"" EDGETUNE_TINY_MODEL
    "\"\n"
    "edgetune_tiny_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" {
extern const uint8_t edgetune_tiny_begin[];
extern const uint8_t edgetune_tiny_end[];
}

namespace edgetune {

std::span<const uint8_t> TinyModelFile() {
  return {edgetune_tiny_begin, edgetune_tiny_end};
}

}  // namespace edgetune
