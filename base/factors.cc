#include "base/factors.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

bool IsOf(const ParameterLayout::Tensor& tensor, Factors factors) {
  switch (factors) {
    case Factors::kBoth:
      return true;
    case Factors::kA:
      return tensor.name.ends_with("lora_A");
    case Factors::kB:
      return tensor.name.ends_with("lora_B");
    case Factors::kCore:
      return tensor.name.ends_with("lora_R");
  }
  return false;
}

}  // namespace

ParameterLayout LayoutOf(const ParameterLayout& adapter, Factors factors) {
  if (factors == Factors::kBoth) return adapter;
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const auto& tensor : adapter.tensors()) {
    if (IsOf(tensor, factors)) tensors.emplace_back(tensor.name, tensor.shape);
  }
  auto layout = ParameterLayout::Make(std::move(tensors));
  EDGETUNE_CHECK(layout.ok());  // each part of a layout is one
  return *std::move(layout);
}

std::vector<CoordinateRange> RangesOf(const ParameterLayout& adapter,
                                      Factors factors) {
  std::vector<CoordinateRange> ranges;
  size_t at = 0;
  for (const auto& tensor : adapter.tensors()) {
    if (!IsOf(tensor, factors)) continue;
    if (!ranges.empty() &&
        ranges.back().adapter_offset + ranges.back().count == tensor.offset) {
      ranges.back().count += tensor.count;
    } else {
      ranges.push_back({tensor.offset, at, tensor.count});
    }
    at += tensor.count;
  }
  return ranges;
}

ParameterVector Gather(std::span<const float> adapter,
                       std::span<const CoordinateRange> ranges) {
  ParameterVector values;
  for (const CoordinateRange& range : ranges) {
    const auto part = adapter.subspan(range.adapter_offset, range.count);
    values.insert(values.end(), part.begin(), part.end());
  }
  return values;
}

void Scatter(std::span<const float> update,
             std::span<const CoordinateRange> ranges,
             std::span<float> adapter) {
  for (const CoordinateRange& range : ranges) {
    std::ranges::copy(update.subspan(range.update_offset, range.count),
                      adapter.subspan(range.adapter_offset).begin());
  }
}

}  // namespace edgetune
