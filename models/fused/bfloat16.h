#ifndef EDGETUNE_MODELS_FUSED_BFLOAT16_H_
#define EDGETUNE_MODELS_FUSED_BFLOAT16_H_

#include <bit>
#include <cstdint>

namespace edgetune::fused {

// The upper half of a float32.
struct BFloat16 {
  uint16_t bits = 0;
};

inline float ToFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}
inline float ToFloat(float value) { return value; }

// To the nearest, halves to even; a NaN stays one.
template <typename T>
T FromFloat(float value);
template <>
inline float FromFloat<float>(float value) {
  return value;
}
template <>
inline BFloat16 FromFloat<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) {
    return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  }
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_BFLOAT16_H_
