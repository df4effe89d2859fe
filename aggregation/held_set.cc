#include "aggregation/held_set.h"

#include <algorithm>

#include "aggregation/update_check.h"
#include "base/status.h"

namespace edgetune {

absl::Status HeldSet::Add(std::span<const float> update, double weight,
                          int64_t rank) {
  EDGETUNE_RETURN_IF_ERROR(CheckRoom(std::ssize(held_), 1, limits_));
  EDGETUNE_RETURN_IF_ERROR(CheckWeight(weight, limits_));
  EDGETUNE_RETURN_IF_ERROR(CheckUpdate(update, limits_));
  held_.push_back({{update.begin(), update.end()}, weight, rank});
  return absl::OkStatus();
}

absl::Status HeldSet::Merge(const HeldSet& other) {
  const size_t count = other.held_.size();
  EDGETUNE_RETURN_IF_ERROR(
      CheckRoom(std::ssize(held_), static_cast<int64_t>(count), limits_));
  // By index: `other` may be this one.
  held_.reserve(held_.size() + count);
  for (size_t i = 0; i < count; ++i) held_.push_back(other.held_[i]);
  return absl::OkStatus();
}

std::vector<const HeldUpdate*> HeldSet::Sorted() const {
  std::vector<const HeldUpdate*> sorted;
  for (const HeldUpdate& held : held_) sorted.push_back(&held);
  std::sort(sorted.begin(), sorted.end(),
            [](const HeldUpdate* a, const HeldUpdate* b) { return *a < *b; });
  return sorted;
}

}  // namespace edgetune
