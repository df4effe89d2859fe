#ifndef EDGETUNE_PRIVACY_SECAGG_GF65536_H_
#define EDGETUNE_PRIVACY_SECAGG_GF65536_H_

// Arithmetic of GF(2^16) = GF(2)[z] / (z^16 + z^12 + z^3 + z + 1), bit i of a
// word the coefficient of z^i; addition is exclusive or. For this room's
// sources. Time depends on sizes alone, never on elements: no branch, no table.
// Pure functions, thread-safe.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "privacy/crypto/secret.h"

namespace edgetune::secagg {

// z^16 reduced.
inline constexpr uint16_t kGfReduction = 0x100B;

// Frees no byte before wiping it.
template <typename T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <typename U>
  explicit WipingAllocator(const WipingAllocator<U>&) {}
  T* allocate(size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* at, size_t n) {
    WipeBytes({reinterpret_cast<uint8_t*>(at), n * sizeof(T)});
    std::allocator<T>().deallocate(at, n);
  }
  bool operator==(const WipingAllocator&) const = default;
};

// Elements that are secret, or polynomials with secret coefficients, lowest
// degree first.
using GfVector = std::vector<uint16_t, WipingAllocator<uint16_t>>;

constexpr uint16_t GfDouble(uint16_t a) {
  return static_cast<uint16_t>(a << 1 ^ (kGfReduction & -(a >> 15)));
}

constexpr uint16_t GfMultiply(uint16_t a, uint16_t b) {
  uint16_t product = 0;
  for (int bit = 15; bit >= 0; --bit) {
    product = static_cast<uint16_t>(GfDouble(product) ^ (a & -(b >> bit & 1)));
  }
  return product;
}

// a^(2^16 - 2): the inverse, and 0 for 0.
uint16_t GfInverse(uint16_t a);

// Sixteen elements at once: what a 32-byte secret is made of.
inline constexpr size_t kGfBlock = 16;
using GfBlock = std::span<uint16_t, kGfBlock>;
using ConstGfBlock = std::span<const uint16_t, kGfBlock>;
// Elements [16 i, 16 i + 16).
inline GfBlock GfBlockAt(GfVector& elements, size_t i) {
  return GfBlock(elements.data() + i * kGfBlock, kGfBlock);
}

// value = value * factor + addend. `factor` is public: its highest bit may
// show in the time.
void GfScaleAdd(uint16_t factor, ConstGfBlock addend, GfBlock value);
// sum += value * factor. `factor` is public.
void GfMultiplyAdd(uint16_t factor, ConstGfBlock value, GfBlock sum);

// The big-endian words of 32 bytes, and back.
void GfLoad(std::span<const uint8_t> bytes, GfBlock out);
void GfStore(ConstGfBlock block, std::span<uint8_t> out);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_GF65536_H_
