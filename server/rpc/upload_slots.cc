#include "server/rpc/upload_slots.h"

#include <fmt/format.h>

namespace edgetune {
namespace {

constexpr int kMaxInFlight = 2;

}  // namespace

UploadSlots::Slot::~Slot() { owner_->Free(*this); }

absl::StatusOr<std::shared_ptr<UploadSlots::Slot>> UploadSlots::Take(
    const std::string& identity, const std::string& name) {
  std::shared_ptr<Slot> before;
  std::shared_ptr<Slot> slot;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto found = by_name_.find(name);
    if (found != by_name_.end()) before = found->second.lock();
    int& count = in_flight_[identity];
    // Taking one's own upload over needs no place of its own: the old stream
    // ends at its next chunk.
    if (before == nullptr && count >= kMaxInFlight) {
      return absl::ResourceExhaustedError(
          fmt::format("{} uploads of \"{}\" are in flight already; at most {}",
                      count, identity, kMaxInFlight));
    }
    ++count;
    slot.reset(new Slot(this, identity, name));
    by_name_[name] = slot;
  }
  if (before != nullptr) {
    // Waits for the old stream's write in progress, so the two never mix.
    std::lock_guard<std::mutex> lock(before->mu);
    before->superseded = true;
  }
  return slot;
}

void UploadSlots::Free(const Slot& slot) {
  std::lock_guard<std::mutex> lock(mu_);
  auto count = in_flight_.find(slot.identity_);
  if (--count->second == 0) in_flight_.erase(count);
  auto found = by_name_.find(slot.name_);
  // A newer stream's entry is alive; an expired one is ours.
  if (found != by_name_.end() && found->second.expired()) {
    by_name_.erase(found);
  }
}

}  // namespace edgetune
