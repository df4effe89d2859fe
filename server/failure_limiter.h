#ifndef EDGETUNE_SERVER_FAILURE_LIMITER_H_
#define EDGETUNE_SERVER_FAILURE_LIMITER_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace edgetune {

// Counts failed attempts of each caller in a minute, so that one who guesses is
// turned away before work is done for him. Bounded memory: beyond 10,000
// callers with failures in one minute, newcomers share one count. Thread-safe.
class FailureLimiter {
 public:
  explicit FailureLimiter(int64_t failures_per_minute)
      : limit_(failures_per_minute) {}

  // ResourceExhausted: this caller failed too often in the current minute.
  absl::Status Check(const std::string& caller, absl::Time now);
  void CountFailure(const std::string& caller, absl::Time now);

 private:
  int64_t* CountOf(const std::string& caller, absl::Time now);

  const int64_t limit_;
  std::mutex mu_;
  // Both guarded by mu_. Counts of the minute that began then.
  absl::Time began_ = absl::InfinitePast();
  std::map<std::string, int64_t> counts_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_FAILURE_LIMITER_H_
