#include "tools/local/profile_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "tools/output.h"

namespace edgetune {
namespace {

double Seconds(const StepProfile& profile) {
  double sum = 0;
  for (const PartTime& part : profile) sum += part.seconds;
  return sum;
}

// 0 where there was nothing.
double Ratio(double a, double b) { return b > 0 ? a / b : 0; }

double MillisecondsAStep(double seconds, int64_t steps) {
  return 1e3 * seconds / static_cast<double>(steps);
}

}  // namespace

void AddProfile(const StepProfile& other, StepProfile& sum) {
  for (size_t i = 0; i < sum.size(); ++i) {
    sum[i].seconds += other[i].seconds;
    sum[i].flops += other[i].flops;
  }
}

std::string ProfileTable(const StepProfile& profile, int64_t steps) {
  const double all = Seconds(profile);
  std::vector<std::vector<std::string>> rows = {
      {"part", "ms a step", "share", "GFLOP a step", "TFLOP/s"}};
  const auto add = [&](const char* name, const PartTime& part) {
    rows.push_back(
        {name, fmt::format("{:.2f}", MillisecondsAStep(part.seconds, steps)),
         fmt::format("{:.1f} %", 100 * Ratio(part.seconds, all)), "", ""});
    if (part.flops == 0) return;
    rows.back()[3] =
        fmt::format("{:.3f}", part.flops / 1e9 / static_cast<double>(steps));
    rows.back()[4] =
        fmt::format("{:.3f}", Ratio(part.flops / 1e12, part.seconds));
  };
  for (size_t i = 0; i < profile.size(); ++i) {
    add(kStepPartNames[i], profile[i]);
  }
  add("all", {.seconds = all});
  return FormatTable(rows, {1, 2, 3, 4});
}

nlohmann::json ProfileJson(const StepProfile& profile, int64_t steps) {
  const double all = Seconds(profile);
  auto parts = nlohmann::json::array();
  for (size_t i = 0; i < profile.size(); ++i) {
    const PartTime& part = profile[i];
    parts.push_back({{"part", kStepPartNames[i]},
                     {"ms_a_step", MillisecondsAStep(part.seconds, steps)},
                     {"share", Ratio(part.seconds, all)}});
    if (part.flops == 0) continue;
    parts.back()["gflop_a_step"] =
        part.flops / 1e9 / static_cast<double>(steps);
    parts.back()["tflop_a_second"] = Ratio(part.flops / 1e12, part.seconds);
  }
  return {{"steps", steps}, {"parts", std::move(parts)}};
}

}  // namespace edgetune
