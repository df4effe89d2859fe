#ifndef EDGETUNE_PRIVACY_IDENTITY_LENGTH_PREFIX_H_
#define EDGETUNE_PRIVACY_IDENTITY_LENGTH_PREFIX_H_

// How this room joins fields before it hashes or signs them.

#include <cstdint>
#include <string>
#include <string_view>

namespace edgetune {

inline constexpr char kIdentityLabel[] = "edgetune/identity/1/";

// The low `size` bytes of `value`, the most significant first.
inline void AppendBigEndian(uint64_t value, int size, std::string* out) {
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>((value >> shift) & 0xFF));
  }
}

// lp(x): big-endian u32 length, then x.
inline void AppendWithLength(std::string_view text, std::string* out) {
  AppendBigEndian(text.size(), 4, out);
  out->append(text);
}

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_LENGTH_PREFIX_H_
