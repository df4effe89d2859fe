#ifndef EDGETUNE_SIMULATIONS_POPULATION_POPULATION_H_
#define EDGETUNE_SIMULATIONS_POPULATION_POPULATION_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "simulations/population/device_profile.h"

namespace edgetune {

// Devices that are alike. Speed, and bandwidth in both directions by one
// factor, are log-normal: the median's times exp(sigma z), z standard normal.
struct DeviceClass {
  DeviceProfile median;
  double share = 1;  // of the population, in proportion; above 0
  double speed_sigma = 0;
  double bandwidth_sigma = 0;
};

// What devices there are. A plain value, read by any number of threads.
struct PopulationSpec {
  enum class Pick {
    kByShare,  // each device draws its class by the shares
    kEvenly,   // each draws one of `classes`, all as likely
    kInOrder,  // device i is of classes[i]; there are as many as devices
  };
  std::vector<DeviceClass> classes;  // not empty
  Pick pick = Pick::kByShare;
};

// Device `device.client` of the population that `device.seed` draws. A pure
// function: no table is needed, and more devices never change those before.
DeviceProfile ProfileOf(const PopulationSpec& spec, DeviceNumber device);

// "uniform", "phones", "gateways", "mixed"; nullopt: another name. The figures:
// docs/reference/simulation.md; where they come from: README.md.
std::span<const std::string_view> PresetNames();
std::optional<PopulationSpec> PresetPopulation(std::string_view name);

// What `devices` of a run file names: a preset, or a trace (device_trace.h) by
// a name that ends in .csv, .csv.gz or .csv.zst. A trace of as many rows as
// `clients` is taken in order, else devices draw rows with replacement.
// InvalidArgument: neither (kConfig), and the trace's own errors.
absl::StatusOr<PopulationSpec> MakePopulation(const std::string& devices,
                                              size_t clients);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_POPULATION_H_
