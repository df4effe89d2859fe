#ifndef EDGETUNE_MODELS_IO_TOKENIZER_BYTE_ALPHABET_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_BYTE_ALPHABET_H_

#include <array>
#include <cstdint>
#include <string>

namespace edgetune {

// GPT-2's alphabet: a printable character for each byte. 33-126, 161-172 and
// 174-255 stand for themselves, the others in order from U+0100 (formats
// design, section 4). A constant.
struct ByteAlphabet {
  static constexpr int32_t kEnd = 0x144;  // behind the last code in use

  std::array<int32_t, 256> code;
  std::array<int32_t, kEnd> byte;  // -1: not in the alphabet

  constexpr ByteAlphabet() : code(), byte() {
    byte.fill(-1);
    int32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
      code[b] = itself ? b : next++;
      byte[code[b]] = b;
    }
  }

  // The character of a byte in UTF-8.
  std::string Utf8Of(uint8_t b) const {
    if (code[b] < 0x80) return std::string(1, static_cast<char>(code[b]));
    return {static_cast<char>(0xC0 | code[b] >> 6),
            static_cast<char>(0x80 | (code[b] & 0x3F))};
  }
  // -1: the character stands for no byte.
  int32_t ByteOf(int32_t character) const {
    return character >= 0 && character < kEnd ? byte[character] : -1;
  }
};

inline constexpr ByteAlphabet kByteAlphabet;

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_BYTE_ALPHABET_H_
