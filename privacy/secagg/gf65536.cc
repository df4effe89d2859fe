#include "privacy/secagg/gf65536.h"

#include <bit>

namespace edgetune::secagg {
namespace {

// product = value * factor, Horner over the bits of `factor`.
void Scale(uint16_t factor, ConstGfBlock value, uint16_t* product) {
  for (size_t i = 0; i < kGfBlock; ++i) product[i] = 0;
  for (int bit = std::bit_width(factor) - 1; bit >= 0; --bit) {
    const auto mask = static_cast<uint16_t>(-(factor >> bit & 1));
    for (size_t i = 0; i < kGfBlock; ++i) {
      product[i] =
          static_cast<uint16_t>(GfDouble(product[i]) ^ (value[i] & mask));
    }
  }
}

}  // namespace

uint16_t GfInverse(uint16_t a) {
  // 2^16 - 2 = 2 + 4 + ... + 2^15.
  uint16_t square = a;
  uint16_t inverse = 1;
  for (int i = 1; i < 16; ++i) {
    square = GfMultiply(square, square);
    inverse = GfMultiply(inverse, square);
  }
  return inverse;
}

void GfScaleAdd(uint16_t factor, ConstGfBlock addend, GfBlock value) {
  uint16_t product[kGfBlock];
  Scale(factor, value, product);
  for (size_t i = 0; i < kGfBlock; ++i) value[i] = product[i] ^ addend[i];
}

void GfMultiplyAdd(uint16_t factor, ConstGfBlock value, GfBlock sum) {
  uint16_t product[kGfBlock];
  Scale(factor, value, product);
  for (size_t i = 0; i < kGfBlock; ++i) sum[i] ^= product[i];
}

void GfLoad(std::span<const uint8_t> bytes, GfBlock out) {
  for (size_t i = 0; i < kGfBlock; ++i) {
    out[i] = static_cast<uint16_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  }
}

void GfStore(ConstGfBlock block, std::span<uint8_t> out) {
  for (size_t i = 0; i < kGfBlock; ++i) {
    out[2 * i] = static_cast<uint8_t>(block[i] >> 8);
    out[2 * i + 1] = static_cast<uint8_t>(block[i]);
  }
}

}  // namespace edgetune::secagg
