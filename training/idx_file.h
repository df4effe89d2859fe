#ifndef EDGETUNE_TRAINING_IDX_FILE_H_
#define EDGETUNE_TRAINING_IDX_FILE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// An array of bytes as the MNIST database's files keep it (LeCun, Cortes,
// Burges: "THE MNIST DATABASE", "the IDX file format"): two zero bytes, the
// type (8: unsigned bytes), the number of dimensions, each dimension as a
// big-endian u32, then the elements, the last dimension fastest.
struct IdxArray {
  std::vector<int64_t> shape;
  std::span<const uint8_t> elements;  // borrowed
};

// DataLoss: another beginning, no or more than 4 dimensions, one of 0, elements
// that are too few or too many. InvalidArgument: another type than bytes.
// Thread-safe.
absl::StatusOr<IdxArray> ParseIdx(std::span<const uint8_t> bytes);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IDX_FILE_H_
