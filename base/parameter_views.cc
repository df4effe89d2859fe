#include "base/parameter_views.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/status.h"

namespace edgetune {

static_assert(std::endian::native == std::endian::little,
              "blobs are read and written as little-endian memory");

absl::StatusOr<std::span<const float>> ViewParameters(
    std::span<const uint8_t> bytes, size_t expected) {
  if (bytes.size() != expected * sizeof(float)) {
    return absl::DataLossError(
        fmt::format("parameter blob has {} bytes, wanted {} ({} float32)",
                    bytes.size(), expected * sizeof(float), expected));
  }
  EDGETUNE_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) ==
                 0);
  return std::span(reinterpret_cast<const float*>(bytes.data()), expected);
}

std::span<const uint8_t> ParameterBytes(std::span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

float LargestMagnitude(std::span<const float> values) {
  // Without their sign floats are ordered as their bits are, NaN above all.
  int32_t largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::bit_cast<int32_t>(value) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

absl::Status CheckFinite(std::span<const float> values, std::string_view what) {
  if (std::isfinite(LargestMagnitude(values))) return absl::OkStatus();
  const auto bad = std::ranges::find_if_not(
      values, [](float value) { return std::isfinite(value); });
  return absl::DataLossError(fmt::format("coordinate {} of {} is not finite",
                                         bad - values.begin(), what));
}

}  // namespace edgetune
