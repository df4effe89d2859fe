#ifndef EDGETUNE_BASE_PARAMETERS_H_
#define EDGETUNE_BASE_PARAMETERS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// Ordered names and shapes of what is trained. Coordinates of a flat vector
// follow this order, each tensor row-major. Immutable once built.
class ParameterLayout {
 public:
  struct Tensor {
    std::string name;            // e.g. "layers.0.self_attn.q_proj.lora_A"
    std::vector<int64_t> shape;  // e.g. [r, in]
    size_t offset = 0;           // first coordinate
    size_t count = 0;            // product of shape
    bool operator==(const Tensor&) const = default;
  };

  // InvalidArgument: duplicate name, empty or non-positive dimension, more
  // than 2^31 coordinates.
  static absl::StatusOr<ParameterLayout> Make(
      std::vector<std::pair<std::string, std::vector<int64_t>>> tensors);
  ParameterLayout() = default;

  const std::vector<Tensor>& tensors() const { return tensors_; }
  size_t size() const { return size_; }  // coordinates
  bool operator==(const ParameterLayout&) const = default;

 private:
  std::vector<Tensor> tensors_;
  size_t size_ = 0;
};

// One flat float32 buffer laid out by a ParameterLayout.
using ParameterVector = std::vector<float>;

// The bytes of an adapter or update blob: little-endian float32, all
// coordinates in layout order (decisions 31).
std::string SerializeParameters(std::span<const float> values);
// DataLoss: not exactly `expected` coordinates. Values are not checked.
absl::StatusOr<ParameterVector> ParseParameters(
    std::span<const uint8_t> bytes, size_t expected);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_PARAMETERS_H_
