// The populations that have a name. Where the figures come from, and which are
// assumptions: README.md. A test compares docs/reference/simulation.md.

#include <utility>

#include "simulations/population/population.h"

namespace edgetune {
namespace {

constexpr std::string_view kNames[] = {"uniform", "phones", "gateways",
                                       "mixed"};

struct ClassFigures {
  std::string_view name;
  double share;
  double speed, speed_sigma;
  double memory_mb;
  double down_mbit, up_mbit, bandwidth_sigma;
  double latency_ms;
  double dropout;
};

constexpr ClassFigures kUniform[] = {
    {"device", 1, 100, 0, 2000, 50, 10, 0, 50, 0}};
constexpr ClassFigures kPhones[] = {
    {"phone-low", 0.3, 20, 0.3, 500, 10, 3, 0.7, 60, 0.10},
    {"phone-mid", 0.5, 80, 0.3, 1500, 40, 10, 0.7, 40, 0.08},
    {"phone-high", 0.2, 300, 0.3, 4000, 100, 30, 0.7, 30, 0.06}};
constexpr ClassFigures kGateways[] = {
    {"gateway-board", 0.7, 50, 0.2, 1000, 100, 40, 0.3, 20, 0.01},
    {"gateway-pc", 0.3, 300, 0.2, 4000, 100, 40, 0.3, 20, 0.01}};

constexpr std::array<float, 24> Always() {
  std::array<float, 24> out = {};
  for (float& hour : out) hour = 1;
  return out;
}

// From midnight on: at the charger and on Wi-Fi by night.
constexpr std::array<float, 24> kByNight = {
    0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.6f, 0.4f,  0.25f, 0.2f, 0.2f,  0.2f,
    0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.25f, 0.3f,  0.4f, 0.55f, 0.7f};

void AddClasses(std::span<const ClassFigures> classes,
                const std::array<float, 24>& available, PopulationSpec* spec) {
  for (const ClassFigures& from : classes) {
    DeviceClass out;
    out.median.device_class = from.name;
    out.median.speed = from.speed;
    out.median.memory_bytes = static_cast<uint64_t>(from.memory_mb * kMegabyte);
    out.median.down_bytes_s = from.down_mbit * kMegabit;
    out.median.up_bytes_s = from.up_mbit * kMegabit;
    out.median.latency = absl::Milliseconds(from.latency_ms);
    out.median.dropout = from.dropout;
    out.median.available = available;
    out.share = from.share;
    out.speed_sigma = from.speed_sigma;
    out.bandwidth_sigma = from.bandwidth_sigma;
    spec->classes.push_back(std::move(out));
  }
}

}  // namespace

std::span<const std::string_view> PresetNames() { return kNames; }

std::optional<PopulationSpec> PresetPopulation(std::string_view name) {
  PopulationSpec spec;
  if (name == "uniform") AddClasses(kUniform, Always(), &spec);
  // Shares of each sum to 1: "mixed" is half phones, half gateways.
  if (name == "phones" || name == "mixed") AddClasses(kPhones, kByNight, &spec);
  if (name == "gateways" || name == "mixed") {
    AddClasses(kGateways, Always(), &spec);
  }
  if (spec.classes.empty()) return std::nullopt;
  return spec;
}

}  // namespace edgetune
