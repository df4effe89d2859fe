#ifndef EDGETUNE_CLIENT_GRPC_BACK_OFF_H_
#define EDGETUNE_CLIENT_GRPC_BACK_OFF_H_

#include <algorithm>
#include <random>

#include "absl/time/time.h"
#include "base/random.h"

namespace edgetune {

// Pauses before trying again: 0.2 s, then 1.6 times more each, at most 30 s,
// every one varied by up to 20 % so that a fleet does not return as one.
// One thread at a time.
class BackOff {
 public:
  BackOff() : random_(std::random_device()()) {}

  absl::Duration Next() {
    absl::Duration pause = current_ * (0.8 + 0.4 * random_.Uniform());
    current_ = std::min(current_ * 1.6, absl::Seconds(30));
    return std::min(pause, absl::Seconds(30));
  }
  void Reset() { current_ = absl::Milliseconds(200); }

 private:
  Random random_;
  absl::Duration current_ = absl::Milliseconds(200);
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_BACK_OFF_H_
