#ifndef EDGETUNE_BASE_PARAMETER_VIEWS_H_
#define EDGETUNE_BASE_PARAMETER_VIEWS_H_

// Parameters where they lie: the bytes of an adapter or update blob
// (base/parameters.h) as coordinates and back, without a copy. Pure functions.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace edgetune {

// `bytes` begin where a float may, as blobs do. DataLoss: not exactly
// `expected` coordinates. Values are not checked.
absl::StatusOr<std::span<const float>> ViewParameters(
    std::span<const uint8_t> bytes, size_t expected);
std::span<const uint8_t> ParameterBytes(std::span<const float> values);

// The largest absolute value, NaN if one of them is; 0 of none.
float LargestMagnitude(std::span<const float> values);
// DataLoss: one of them is NaN or infinite; says which coordinate of `what`.
absl::Status CheckFinite(std::span<const float> values, std::string_view what);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_PARAMETER_VIEWS_H_
