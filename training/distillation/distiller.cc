#include "training/distillation/distiller.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "base/status.h"

namespace edgetune {

absl::Status CheckDistillationConfig(const DistillationConfig& c) {
  std::string wrong;
  const auto within = [&](const char* name, double value, double least,
                          double most) {
    if (value >= least && value <= most) return;  // not of NaN
    wrong = fmt::format("{} must lie between {} and {}, got {}", name, least,
                        most, value);
  };
  within("temperature", c.temperature, 0.01, 100);
  within("alpha", c.alpha, 0, 1);
  within("entropy", c.entropy, 0, 1e6);
  within("hidden", c.hidden, 0, 1e6);
  if (wrong.empty()) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(wrong), ErrorKind::kConfig);
}

}  // namespace edgetune
