#ifndef EDGETUNE_MODELS_IO_QUANTISE_SUPER_BLOCKS_H_
#define EDGETUNE_MODELS_IO_QUANTISE_SUPER_BLOCKS_H_

// Encoders of the block types of 256 values, whose sub-blocks have small
// integer scales of their own, for quantise.cc. Pure functions. The scales are
// searched: about 20 candidates a sub-block, each with its best scale (and
// minimum) by weighted least squares, of which the one with the smallest
// weighted square error is taken. The grids, weights and the order of the sums
// are those of ggml's reference, so that the bits are.

#include <cstdint>

namespace edgetune {

// 256 finite values at x; 144, 176 and 210 bytes at out.
void WriteQ4_K(const float* x, uint8_t* out);
void WriteQ5_K(const float* x, uint8_t* out);
void WriteQ6_K(const float* x, uint8_t* out);

// IEEE 754 binary16, to nearest, ties to even; beyond its range infinity.
uint16_t HalfOf(float value);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_QUANTISE_SUPER_BLOCKS_H_
