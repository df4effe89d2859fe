#ifndef EDGETUNE_MODELS_SHRINK_COMPENSATED_ROUNDING_H_
#define EDGETUNE_MODELS_SHRINK_COMPENSATED_ROUNDING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/io/quantise/block_types.h"

namespace edgetune {

// Rounds rows of a linear's weights to blocks so that its outputs change least
// on the inputs that were seen: what rounding one weight adds to an output, the
// weights that follow take back (GPTQ; Frantar et al. 2023, arXiv 2210.17323,
// Algorithm 1), in the order of the inputs. A block's scale is chosen, as
// Quantise would, from what its weights have become when its turn comes. I
// inputs. Immutable, thread-safe.
class CompensatedRounding {
 public:
  // `gram` [I,I]: the sum of x x^T over inputs x. `damping` times the mean of
  // its diagonal is added to the diagonal. InvalidArgument: not a square of
  // that size, not finite, or not positive definite even so.
  static absl::StatusOr<CompensatedRounding> Make(std::span<const float> gram,
                                                  int64_t inputs,
                                                  double damping = 0.01);

  // Appends one row [I], which is consumed, as blocks of a type with levels
  // (HasLevels); I is a multiple of 32. InvalidArgument: a weight that is not
  // finite, or that the type cannot hold.
  absl::Status Encode(BlockType type, std::span<float> row,
                      std::vector<uint8_t>* out) const;

 private:
  CompensatedRounding(std::vector<float> factor, size_t inputs)
      : factor_(std::move(factor)), inputs_(inputs) {}

  // Upper triangle [I,I]: the transposed Cholesky factor of the inverse, each
  // row over its diagonal element.
  std::vector<float> factor_;
  size_t inputs_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_COMPENSATED_ROUNDING_H_
