#include "base/rank_slices.h"

#include <string>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

bool IsA(const ParameterLayout::Tensor& tensor) {
  return tensor.name.ends_with("lora_A");
}

}  // namespace

std::vector<uint32_t> SlicesOf(const ParameterLayout& layout) {
  std::vector<uint32_t> slices;
  slices.reserve(layout.size());
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    EDGETUNE_CHECK(tensor.shape.size() == 2);
    for (int64_t row = 0; row < tensor.shape[0]; ++row) {
      for (int64_t column = 0; column < tensor.shape[1]; ++column) {
        slices.push_back(static_cast<uint32_t>(IsA(tensor) ? row : column));
      }
    }
  }
  return slices;
}

int64_t SliceCount(const ParameterLayout& layout) {
  EDGETUNE_CHECK(!layout.tensors().empty());
  const ParameterLayout::Tensor& tensor = layout.tensors().front();
  EDGETUNE_CHECK(tensor.shape.size() == 2);
  return tensor.shape[IsA(tensor) ? 0 : 1];
}

ParameterLayout LayoutOfRank(const ParameterLayout& layout, int64_t rank) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    std::vector<int64_t> shape = tensor.shape;
    shape.at(IsA(tensor) ? 0 : 1) = rank;
    tensors.emplace_back(tensor.name, std::move(shape));
  }
  auto narrow = ParameterLayout::Make(std::move(tensors));
  EDGETUNE_CHECK(narrow.ok());  // no larger than a layout
  return *std::move(narrow);
}

ParameterVector FirstSlices(std::span<const float> values,
                            const ParameterLayout& layout, int64_t rank) {
  return WithoutSlices(values, layout, rank, SliceCount(layout));
}

std::vector<CoordinateRange> SliceRanges(const ParameterLayout& layout,
                                         int64_t rank) {
  const std::vector<uint32_t> slices = SlicesOf(layout);
  std::vector<CoordinateRange> ranges;
  size_t at = 0;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (slices[i] >= rank) continue;
    if (ranges.empty() ||
        ranges.back().adapter_offset + ranges.back().count != i) {
      ranges.push_back({i, at, 0});
    }
    ++ranges.back().count;
    ++at;
  }
  return ranges;
}

// Both factors are row-major, so leaving out slices leaves the narrow order.
ParameterVector WithoutSlices(std::span<const float> values,
                              const ParameterLayout& layout, int64_t begin,
                              int64_t end) {
  const std::vector<uint32_t> slices = SlicesOf(layout);
  EDGETUNE_CHECK(slices.size() == values.size());
  ParameterVector left;
  for (size_t i = 0; i < values.size(); ++i) {
    if (slices[i] < begin || slices[i] >= end) left.push_back(values[i]);
  }
  return left;
}

ParameterVector JoinSlices(std::span<const float> first,
                           std::span<const float> rest,
                           const ParameterLayout& layout, int64_t rank) {
  const std::vector<uint32_t> slices = SlicesOf(layout);
  EDGETUNE_CHECK(first.size() + rest.size() == slices.size());
  ParameterVector values(slices.size());
  size_t at = 0, beyond = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = slices[i] < rank ? first[at++] : rest[beyond++];
  }
  EDGETUNE_CHECK(at == first.size());
  return values;
}

ParameterVector PadSlices(std::span<const float> first,
                          const ParameterLayout& layout, int64_t rank) {
  const std::vector<uint32_t> slices = SlicesOf(layout);
  EDGETUNE_CHECK(first.size() <= slices.size());
  const ParameterVector zeros(slices.size() - first.size());
  return JoinSlices(first, zeros, layout, rank);
}

}  // namespace edgetune
