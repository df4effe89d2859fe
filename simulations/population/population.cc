#include "simulations/population/population.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "base/units.h"
#include "simulations/population/device_trace.h"

namespace edgetune {
namespace {

using Pick = PopulationSpec::Pick;

constexpr std::string_view kTraceSuffixes[] = {".csv", ".csv.gz", ".csv.zst"};

const DeviceClass& ByShare(const std::vector<DeviceClass>& classes,
                           Random& random) {
  double sum = 0;
  for (const DeviceClass& one : classes) sum += one.share;
  double at = random.Uniform() * sum;
  for (const DeviceClass& one : classes) {
    if (at < one.share) return one;
    at -= one.share;
  }
  return classes.back();  // rounding
}

const DeviceClass& ClassOf(const PopulationSpec& spec, uint64_t client,
                           Random& random) {
  switch (spec.pick) {
    case Pick::kByShare:
      return ByShare(spec.classes, random);
    case Pick::kEvenly:
      return spec.classes[random.Below(spec.classes.size())];
    case Pick::kInOrder:
      break;
  }
  EDGETUNE_CHECK(client < spec.classes.size());
  return spec.classes[client];
}

absl::Status UnknownDevices(const std::string& devices) {
  const std::vector<std::string> names(PresetNames().begin(),
                                       PresetNames().end());
  const std::string close = ClosestWord(devices, names);
  return Annotate(
      absl::InvalidArgumentError(
          fmt::format("devices are \"{}\", wanted {} or a file whose name "
                      "ends in .csv, .csv.gz or .csv.zst",
                      devices, fmt::join(names, ", "))),
      ErrorKind::kConfig,
      close.empty() ? "" : fmt::format("did you mean \"{}\"?", close));
}

}  // namespace

DeviceProfile ProfileOf(const PopulationSpec& spec, DeviceNumber device) {
  EDGETUNE_CHECK(!spec.classes.empty());
  Random random = Random(device.seed).Split("device", device.client);
  const DeviceClass& from = ClassOf(spec, device.client, random);
  DeviceProfile profile = from.median;
  profile.speed *= std::exp(from.speed_sigma * random.Normal());
  const double bandwidth = std::exp(from.bandwidth_sigma * random.Normal());
  profile.down_bytes_s *= bandwidth;
  profile.up_bytes_s *= bandwidth;
  return profile;
}

absl::StatusOr<PopulationSpec> MakePopulation(const std::string& devices,
                                              size_t clients) {
  if (auto preset = PresetPopulation(devices)) return *std::move(preset);
  const bool is_trace = std::ranges::any_of(
      kTraceSuffixes, [&](std::string_view s) { return devices.ends_with(s); });
  if (!is_trace) return UnknownDevices(devices);
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<DeviceProfile> rows,
                            ReadDeviceTrace(devices));
  PopulationSpec spec;
  spec.pick = rows.size() == clients ? Pick::kInOrder : Pick::kEvenly;
  for (DeviceProfile& row : rows) spec.classes.push_back({std::move(row)});
  return spec;
}

}  // namespace edgetune
