#include "base/parameters.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"

namespace edgetune {

static_assert(std::endian::native == std::endian::little,
              "blobs are read and written as little-endian memory");

absl::StatusOr<ParameterLayout> ParameterLayout::Make(
    std::vector<std::pair<std::string, std::vector<int64_t>>> tensors) {
  constexpr int64_t kMaxCoordinates = int64_t{1} << 31;
  ParameterLayout layout;
  // Views of what stays where it is until all names were seen.
  absl::flat_hash_set<std::string_view> names;
  names.reserve(tensors.size());
  for (const auto& [name, shape] : tensors) {
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          fmt::format("layout names tensor {} twice", name));
    }
  }
  layout.tensors_.reserve(tensors.size());
  for (auto& [name, shape] : tensors) {
    int64_t count = 1;
    for (int64_t dim : shape) {
      if (dim <= 0 || dim > kMaxCoordinates / count) {
        return absl::InvalidArgumentError(fmt::format(
            "layout tensor {} has an unusable dimension {}", name, dim));
      }
      count *= dim;
    }
    if (shape.empty() ||
        layout.size_ + static_cast<size_t>(count) > kMaxCoordinates) {
      return absl::InvalidArgumentError(
          fmt::format("layout tensor {} has no shape or is too large", name));
    }
    layout.tensors_.push_back({std::move(name), std::move(shape), layout.size_,
                               static_cast<size_t>(count)});
    layout.size_ += static_cast<size_t>(count);
  }
  return layout;
}

std::string SerializeParameters(std::span<const float> values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size_bytes());
}

absl::StatusOr<ParameterVector> ParseParameters(std::span<const uint8_t> bytes,
                                                size_t expected) {
  if (bytes.size() != expected * sizeof(float)) {
    return absl::DataLossError(
        fmt::format("parameter blob has {} bytes, wanted {} ({} float32)",
                    bytes.size(), expected * sizeof(float), expected));
  }
  ParameterVector values(expected);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace edgetune
