#ifndef EDGETUNE_AGGREGATION_PRODUCT_MEAN_H_
#define EDGETUNE_AGGREGATION_PRODUCT_MEAN_H_

// The mean of LoRA products, and the factors of a rank that come nearest to it.
// Pure functions; arithmetic is double, in the order of the products, so equal
// inputs give equal bits.

#include <cstddef>
#include <span>
#include <vector>

#include "base/parameters.h"

namespace edgetune {

// share * B A: A [rank, in], B [out, rank], row-major.
struct LoraProduct {
  ParameterVector a, b;
  size_t rank = 0;
  double share = 1;
};

struct ModuleShape {
  size_t out = 0, in = 0;
  size_t rank = 0;  // of the result; at most out and in
};

struct NearestFactors {
  ParameterVector a, b;  // of ModuleShape::rank
  // Sums of squares of singular values: of the mean, and those kept.
  double energy = 0, kept = 0;
  // First slices up to the last whose singular value is more than what rounding
  // of the products in double would leave of zero.
  size_t significant = 0;
};

// The B A of that rank nearest to the sum M of the products in the Frobenius
// norm (Eckart and Young 1936): of M = U S V^T the largest singular values, B =
// U S and A = V^T, as in Bai et al. 2024, "Federated Fine-tuning of Large
// Language Models under Heterogeneous Tasks and Client Resources" (FlexLoRA),
// section 3. Singular values fall from slice to slice, hence the first slices
// are the nearest of a smaller rank. Each row of A is turned so that its
// largest entry is positive.
//
// M, out times in, is never made: with [B_1 .. B_n] = Q R and [A_1; ..; A_n]^T
// = Q' R' it has the singular values of R R'^T, whose sides are the sum of the
// ranks or less. B A is M V V^T for the V that is found, hence exact where the
// rank suffices. Ranks sum to shape.rank at least; all finite.
NearestFactors NearestToSum(std::span<const LoraProduct> products,
                            const ModuleShape& shape);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_PRODUCT_MEAN_H_
