#ifndef EDGETUNE_TESTS_SIMULATIONS_FLEET_SMALL_FLEET_H_
#define EDGETUNE_TESTS_SIMULATIONS_FLEET_SMALL_FLEET_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "simulations/fleet/fleet.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// Devices that differ by their number alone; what a test changes is public.
class NumberedDevices final : public DeviceModel {
 public:
  absl::Duration latency = absl::Milliseconds(20);
  absl::Duration a_token =
      absl::Milliseconds(1);            // of device 0; n: n + 1 times
  std::map<size_t, double> slower;      // training, so many times
  std::map<size_t, uint64_t> memory;    // none: no limit
  std::set<size_t> never;               // on-line
  std::map<size_t, absl::Time> off_at;  // for good
  std::map<size_t, double> vanishes;    // in every first attempt of ...
  uint32_t vanishing_round = 1;
  absl::Duration gone = absl::Seconds(40);
  std::map<size_t, int64_t> ranks;  // largest

  uint64_t Memory(size_t device) const override {
    const auto found = memory.find(device);
    return found == memory.end() ? 0 : found->second;
  }
  absl::Duration Latency(size_t device) const override {
    return latency * (device + 1);
  }
  absl::Duration DownloadTime(size_t device, uint64_t bytes) const override {
    return absl::Microseconds(bytes) * (device + 1);
  }
  absl::Duration UploadTime(size_t device, uint64_t bytes) const override {
    return absl::Microseconds(2 * bytes) * (device + 1);
  }
  absl::Duration EvaluationTime(size_t device, uint64_t tokens) const override {
    return a_token / 3 * tokens * (device + 1);
  }
  absl::Duration TrainingTime(size_t device, uint64_t tokens) const override {
    const auto found = slower.find(device);
    return a_token * tokens * (device + 1) *
           (found == slower.end() ? 1 : found->second);
  }
  absl::Time NextOnline(size_t device, absl::Time from) const override {
    const auto off = off_at.find(device);
    const bool gone = off != off_at.end() && from >= off->second;
    return gone || never.count(device) > 0 ? absl::InfiniteFuture() : from;
  }
  absl::Time NextOffline(size_t device, absl::Time) const override {
    const auto off = off_at.find(device);
    return off == off_at.end() ? absl::InfiniteFuture() : off->second;
  }
  std::optional<double> VanishesAt(size_t device, uint32_t round,
                                   uint32_t attempt) const override {
    const auto found = vanishes.find(device);
    if (found == vanishes.end() || round != vanishing_round || attempt != 0) {
      return std::nullopt;
    }
    return found->second;
  }
  absl::Duration GoneFor(size_t) const override { return gone; }
  int64_t LargestRank(size_t device) const override {
    const auto found = ranks.find(device);
    return found == ranks.end() ? 0 : found->second;
  }
};

// Writes down all that an observer is told, as text.
class Diary final : public FleetObserver {
 public:
  void OnSession(const SessionNews& news) override;
  void OnRun(absl::Time at, const v1::RunStatus& status) override;

  std::vector<std::string> lines;
  // Of these rounds' sessions.
  std::map<SessionNews::Kind, int> counts;
};

// A run of `clients` devices, all of them asked, over the tiny model with the
// engine of the fixture. Change plan, devices or options, then Run.
class SmallFleet {
 public:
  explicit SmallFleet(uint32_t clients);

  // Makes a fleet of what is set and runs it to its end.
  absl::StatusOr<v1::RunStatus> Run();
  // After Run.
  ParameterVector adapter() const { return adapter_; }

  const ScratchDirectory scratch;
  TestRun run;
  FakeEngine engine;
  Engine* other_engine = nullptr;   // in place of that
  const StopToken* stop = nullptr;  // of the run
  NumberedDevices devices;
  Diary diary;
  std::vector<std::string> names;
  std::map<std::string, ClientFile::Data> data;  // by name
  ReadData read_data;                            // of `data`, unless it is set
  ReplaceTrainer replace_trainer;                // may be empty
  uint64_t seed = 1;
  size_t workers = 1;
  std::string spill_directory;  // empty: nothing is spilled
  uint64_t most_blobs = UINT64_MAX;
  uint64_t most_memory = 0;
  absl::Duration length;  // of the run, virtual

 private:
  ParameterVector adapter_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_FLEET_SMALL_FLEET_H_
