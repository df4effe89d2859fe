#ifndef EDGETUNE_BASE_UTF8_H_
#define EDGETUNE_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace edgetune {

// One step through UTF-8 that may be damaged. Of ill-formed input the longest
// part that could begin a character is one step (Unicode 15, section 3.9,
// "substitution of maximal subparts"). Stateless.
struct Utf8Char {
  int32_t code;     // -1: ill-formed
  size_t length;    // bytes, at least 1
  bool incomplete;  // ill-formed only because the text ends here
};

inline Utf8Char DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, false};
  if (lead < 0xC2 || lead > 0xF4) return {-1, 1, false};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Bounds of the second byte shut out overlong forms, surrogates and codes
  // above U+10FFFF.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  int32_t code = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {-1, i, true};
    if (byte(i) < low || byte(i) > high) return {-1, i, false};
    code = code << 6 | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code, length, false};
}

}  // namespace edgetune

#endif  // EDGETUNE_BASE_UTF8_H_
