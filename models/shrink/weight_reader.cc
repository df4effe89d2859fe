#include "models/shrink/weight_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

// Values in memory at a time, unless one row has more.
constexpr int64_t kReadValues = 1 << 18;

}  // namespace

WeightReader::WeightReader(const TensorSource& source, uint64_t total,
                           ReadProgress progress)
    : source_(source), total_(total), progress_(std::move(progress)) {
  for (const TensorInfo& info : source.tensors()) tensors_[info.name] = &info;
}

const TensorInfo* WeightReader::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

absl::Status WeightReader::Read(
    const std::string& name,
    const std::function<void(int64_t row, std::span<const float>)>& visit) {
  const TensorInfo* info = Find(name);
  if (info == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("the model has no tensor {}", name));
  }
  const int64_t columns = info->columns();
  const int64_t step = std::max<int64_t>(1, kReadValues / columns);
  for (int64_t begin = 0; begin < info->rows(); begin += step) {
    const int64_t end = std::min(info->rows(), begin + step);
    values_.resize(static_cast<size_t>((end - begin) * columns));
    EDGETUNE_RETURN_IF_ERROR(source_.ReadRows(name, begin, end, values_));
    source_.Release(name);
    for (int64_t row = begin; row < end; ++row) {
      visit(row, std::span<const float>(values_).subspan(
                     static_cast<size_t>((row - begin) * columns),
                     static_cast<size_t>(columns)));
    }
    done_ += values_.size();
    if (progress_) EDGETUNE_RETURN_IF_ERROR(progress_(done_, total_));
  }
  return absl::OkStatus();
}

}  // namespace edgetune
