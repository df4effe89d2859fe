#include "training/idx_file.h"

#include <fmt/format.h>

namespace edgetune {
namespace {

constexpr uint8_t kUnsignedBytes = 8;
constexpr size_t kMostDimensions = 4;
constexpr size_t kMagicBytes = 4, kDimensionBytes = 4;

uint32_t BigEndian(std::span<const uint8_t> four) {
  uint32_t value = 0;
  for (const uint8_t byte : four) value = value << 8 | byte;
  return value;
}

}  // namespace

absl::StatusOr<IdxArray> ParseIdx(std::span<const uint8_t> bytes) {
  if (bytes.size() < kMagicBytes || bytes[0] != 0 || bytes[1] != 0) {
    return absl::DataLossError("does not begin as an IDX file");
  }
  if (bytes[2] != kUnsignedBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "holds elements of type {:#x}, read are unsigned bytes", bytes[2]));
  }
  const size_t dimensions = bytes[3];
  const size_t head = kMagicBytes + dimensions * kDimensionBytes;
  if (dimensions < 1 || dimensions > kMostDimensions || bytes.size() < head) {
    return absl::DataLossError(fmt::format(
        "{} bytes with {} dimensions, wanted 1 to {} and their sizes",
        bytes.size(), dimensions, kMostDimensions));
  }
  IdxArray array;
  array.elements = bytes.subspan(head);
  // Never beyond what is there, so no product overflows.
  uint64_t count = 1;
  for (size_t i = 0; i < dimensions; ++i) {
    const uint32_t size = BigEndian(
        bytes.subspan(kMagicBytes + i * kDimensionBytes, kDimensionBytes));
    array.shape.push_back(size);
    if (size == 0 || size > array.elements.size() / count) {
      return absl::DataLossError(
          fmt::format("dimension {} is {}, and there are {} elements", i, size,
                      array.elements.size()));
    }
    count *= size;
  }
  if (count == array.elements.size()) return array;
  return absl::DataLossError(fmt::format("{} elements, its dimensions say {}",
                                         array.elements.size(), count));
}

}  // namespace edgetune
