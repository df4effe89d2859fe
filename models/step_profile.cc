#include "models/step_profile.h"

#include "base/status.h"

namespace edgetune {

StepProfiler::StepProfiler() : since_(Clock::now()) {
  EDGETUNE_CHECK(current_ == nullptr);
  current_ = this;
}

StepProfiler::~StepProfiler() { current_ = nullptr; }

void StepProfiler::Enter(StepPart part) {
  const auto now = Clock::now();
  times_[static_cast<size_t>(part_)] += now - since_;
  since_ = now;
  part_ = part;
}

StepProfile StepProfiler::Read() {
  Enter(part_);
  StepProfile profile;
  for (size_t i = 0; i < profile.size(); ++i) {
    profile[i].seconds = std::chrono::duration<double>(times_[i]).count();
  }
  profile[static_cast<size_t>(StepPart::kProducts)].flops = flops_;
  return profile;
}

}  // namespace edgetune
