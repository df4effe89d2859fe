#include "simulations/population/population.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "base/status.h"
#include "tests/simulations_population/seeds.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::kSeeds;

PopulationSpec PopulationOf(const std::string& devices, size_t clients) {
  const auto spec = MakePopulation(devices, clients);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.value_or(PopulationSpec());
}

void ExpectSame(const DeviceProfile& a, const DeviceProfile& b) {
  EXPECT_EQ(a.device_class, b.device_class);
  EXPECT_EQ(a.speed, b.speed);
  EXPECT_EQ(a.memory_bytes, b.memory_bytes);
  EXPECT_EQ(a.down_bytes_s, b.down_bytes_s);
  EXPECT_EQ(a.up_bytes_s, b.up_bytes_s);
  EXPECT_EQ(a.latency, b.latency);
  EXPECT_EQ(a.dropout, b.dropout);
  EXPECT_EQ(a.available, b.available);
}

std::string WriteTrace(const testing::ScratchDirectory& folder, size_t rows) {
  const std::string path = folder.File("devices.csv");
  std::ofstream out(path);
  out << "device_class,speed,memory_mb,down_mbit,up_mbit,latency_ms,dropout,"
         "available\n";
  for (size_t i = 0; i < rows; ++i) {
    out << "row" << i << ',' << i + 1 << ",1,1,1,0,0,1\n";
  }
  return path;
}

TEST(PopulationTest, ADeviceIsTheSameHoweverManyThereAre) {
  for (const std::string_view preset : PresetNames()) {
    const PopulationSpec few = PopulationOf(std::string(preset), 10);
    const PopulationSpec many = PopulationOf(std::string(preset), 10000);
    for (uint64_t client = 0; client < 10; ++client) {
      ExpectSame(ProfileOf(few, {4, client}), ProfileOf(many, {4, client}));
    }
  }
}

TEST(PopulationTest, ADeviceIsAnotherWithAnotherSeed) {
  const PopulationSpec spec = PopulationOf("phones", 1);
  int alike = 0;
  for (uint64_t client = 0; client < 100; ++client) {
    alike += ProfileOf(spec, {1, client}).speed ==
             ProfileOf(spec, {2, client}).speed;
  }
  EXPECT_EQ(alike, 0);
}

TEST(PopulationTest, UniformDevicesAreEqualAndAlwaysThere) {
  const PopulationSpec spec = PopulationOf("uniform", 50);
  for (uint64_t client = 0; client < 50; ++client) {
    const DeviceProfile profile = ProfileOf(spec, {9, client});
    ExpectSame(profile, ProfileOf(spec, {1, 0}));
    EXPECT_EQ(profile.dropout, 0);
    EXPECT_TRUE(
        std::ranges::all_of(profile.available, [](float x) { return x == 1; }));
  }
}

// 5,000 devices a seed: binomial, six deviations, 2e-9 each.
TEST(PopulationTest, ClassesHaveTheirShares) {
  for (const uint64_t seed : kSeeds) {
    const PopulationSpec spec = PopulationOf("mixed", 5000);
    std::map<std::string, int> counts;
    for (uint64_t client = 0; client < 5000; ++client) {
      ++counts[ProfileOf(spec, {seed, client}).device_class];
    }
    for (const DeviceClass& one : spec.classes) {
      const double p = one.share / 2;  // phones and gateways sum to 2
      EXPECT_NEAR(counts[one.median.device_class], 5000 * p,
                  6 * std::sqrt(5000 * p * (1 - p)))
          << one.median.device_class;
    }
  }
}

// log(x / median) / sigma is standard normal. Six standard errors of mean and
// variance, below 1e-8 each, and of the correlation of speed and bandwidth,
// which are drawn apart.
TEST(PopulationTest, SpeedAndBandwidthAreLogNormal) {
  constexpr int kDevices = 5000;
  DeviceClass one;
  one.median.speed = 80;
  one.median.down_bytes_s = 5e6;
  one.median.up_bytes_s = 1e6;
  one.speed_sigma = 0.3;
  one.bandwidth_sigma = 0.7;
  for (const uint64_t seed : kSeeds) {
    double x_sum = 0, x_squares = 0, y_sum = 0, y_squares = 0, products = 0;
    for (uint64_t client = 0; client < kDevices; ++client) {
      const DeviceProfile got = ProfileOf({{one}}, {seed, client});
      const double x = std::log(got.speed / 80) / 0.3;
      const double y = std::log(got.down_bytes_s / 5e6) / 0.7;
      EXPECT_NEAR(got.down_bytes_s / got.up_bytes_s, 5, 1e-12);
      x_sum += x, x_squares += x * x;
      y_sum += y, y_squares += y * y;
      products += x * y;
    }
    const double error = 6 / std::sqrt(kDevices);
    EXPECT_NEAR(x_sum / kDevices, 0, error);
    EXPECT_NEAR(y_sum / kDevices, 0, error);
    EXPECT_NEAR(x_squares / kDevices, 1, error * std::sqrt(2));
    EXPECT_NEAR(y_squares / kDevices, 1, error * std::sqrt(2));
    EXPECT_NEAR(products / kDevices, 0, error);
  }
}

TEST(PopulationTest, ATraceOfAsManyRowsAsClientsIsTakenInOrder) {
  const testing::ScratchDirectory folder;
  const PopulationSpec spec = PopulationOf(WriteTrace(folder, 5), 5);
  for (uint64_t client = 0; client < 5; ++client) {
    const DeviceProfile profile = ProfileOf(spec, {1, client});
    EXPECT_EQ(profile.device_class, fmt::format("row{}", client));
    EXPECT_EQ(profile.speed, static_cast<double>(client + 1));
  }
}

// Chi-square of 4 degrees of freedom: above 38.2 or below 0.0009 with chance
// 1e-7 each.
TEST(PopulationTest, ElseDevicesDrawRowsOfATraceAlike) {
  const testing::ScratchDirectory folder;
  const std::string path = WriteTrace(folder, 5);
  const PopulationSpec spec = PopulationOf(path, 5000);
  for (const uint64_t seed : kSeeds) {
    std::map<std::string, double> counts;
    for (uint64_t client = 0; client < 5000; ++client) {
      ++counts[ProfileOf(spec, {seed, client}).device_class];
    }
    double sum = 0;
    for (const auto& [name, count] : counts) {
      sum += (count - 1000) * (count - 1000) / 1000;
    }
    EXPECT_EQ(counts.size(), 5u);
    EXPECT_LT(sum, 38.2);
    EXPECT_GT(sum, 0.0009);
  }
  ExpectSame(ProfileOf(spec, {1, 2}), ProfileOf(PopulationOf(path, 3), {1, 2}));
}

TEST(PopulationTest, RefusesAnUnknownNameWithTheNearest) {
  const auto spec = MakePopulation("phone", 3);
  EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KindOf(spec.status()), ErrorKind::kConfig);
  EXPECT_THAT(std::string(spec.status().message()),
              HasSubstr("devices are \"phone\", wanted uniform, phones, "
                        "gateways, mixed or a file whose name ends in .csv"));
  EXPECT_THAT(HintOf(spec.status()), HasSubstr("phones"));
  EXPECT_FALSE(MakePopulation("devices.txt", 3).ok());
  EXPECT_EQ(MakePopulation("none.csv", 3).status().code(),
            absl::StatusCode::kNotFound);
}

std::string Document() {
  std::ifstream file(EDGETUNE_SOURCE_DIR "/docs/reference/simulation.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(PopulationTest, TheDocumentHasTheFiguresOfThePresets) {
  const std::string text = Document();
  for (const char* preset : {"uniform", "phones", "gateways"}) {
    for (const DeviceClass& one : PopulationOf(preset, 1).classes) {
      const DeviceProfile& m = one.median;
      EXPECT_THAT(
          text,
          HasSubstr(fmt::format(
              "| `{}` | `{}` | {:.0f} % | {} ({}) | {} MB | {} / {} Mbit/s "
              "({}) | {:.0f} ms | {:.0f} % |",
              preset, m.device_class, 100 * one.share, m.speed, one.speed_sigma,
              m.memory_bytes / 1000000, m.down_bytes_s / 125000,
              m.up_bytes_s / 125000, one.bandwidth_sigma,
              absl::ToDoubleMilliseconds(m.latency), 100 * m.dropout)));
    }
  }
}

TEST(PopulationTest, TheDocumentHasTheHoursOfPhones) {
  const DeviceProfile phone = PopulationOf("phones", 1).classes[0].median;
  std::string row;
  for (size_t hour = 0; hour < 24; ++hour) {
    row += fmt::format("{}{}", hour == 0 ? "" : ";", phone.available[hour]);
  }
  EXPECT_THAT(Document(), HasSubstr(row));
}

}  // namespace
}  // namespace edgetune
