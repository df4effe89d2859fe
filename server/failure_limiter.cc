#include "server/failure_limiter.h"

#include <fmt/format.h>

namespace edgetune {
namespace {

constexpr size_t kMostCallers = 10000;
constexpr absl::Duration kWindow = absl::Minutes(1);

}  // namespace

// A clock that was set back begins a new minute as well.
int64_t* FailureLimiter::CountOf(const std::string& caller, absl::Time now) {
  if (now - began_ >= kWindow || now < began_) {
    began_ = now;
    counts_.clear();
  }
  const auto found = counts_.find(caller);
  if (found != counts_.end()) return &found->second;
  return &counts_[counts_.size() < kMostCallers ? caller : std::string()];
}

absl::Status FailureLimiter::Check(const std::string& caller, absl::Time now) {
  std::lock_guard<std::mutex> lock(mu_);
  if (*CountOf(caller, now) < limit_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("{} failed attempts from this address within a minute; try "
                  "again in the next",
                  limit_));
}

void FailureLimiter::CountFailure(const std::string& caller, absl::Time now) {
  std::lock_guard<std::mutex> lock(mu_);
  ++*CountOf(caller, now);
}

}  // namespace edgetune
