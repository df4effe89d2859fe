#ifndef EDGETUNE_SIMULATIONS_FLEET_SHARED_BASE_H_
#define EDGETUNE_SIMULATIONS_FLEET_SHARED_BASE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/base_models.h"
#include "models/io/model_file.h"
#include "simulations/fleet/step_journal.h"
#include "training/engine_loader.h"

namespace edgetune {

// What a client has in memory before it opens an engine, in bytes: a device has
// one of these, this process has a fleet. Measured
// (docs/reference/simulation.md).
inline constexpr uint64_t kClientBytes = 40'000'000;

// The one base model of a simulated fleet: its file is mapped once, and each
// worker of a WorkerPool has one trainer on it, whatever device it works for.
// Outlives its handles. trainer() of a handle belongs to the workers, all else
// to the fleet's thread; what was loaded stays.
class SharedBase {
 public:
  struct Options {
    std::shared_ptr<const ModelFile> model;
    std::string digest;  // of the base, as plans name it
    std::function<absl::StatusOr<Engine*>(std::string_view)> open_engine;
    size_t workers = 1;
    int threads = 1;  // of each worker's trainer
    // Keeps what trainers give; null: nothing is kept.
    StepJournal* journal = nullptr;
  };
  explicit SharedBase(Options options) : options_(std::move(options)) {}

  // What differs from device to device.
  struct Hooks {
    // Told, once a device and part, of a part that the device would download:
    // the part itself is here already.
    std::function<void(const v1::FilePart&)> fetch;
    // What the device has in place of its trainer, which is another on each
    // worker; null, or empty: that itself.
    std::function<std::unique_ptr<Trainer>(std::function<Trainer&()>)> replace =
        {};
  };
  // What one device sees.
  std::unique_ptr<BaseModels> MakeHandle(Hooks hooks);

 private:
  class Handle;
  // How a trainer has weights and activations.
  using Choice = std::pair<WeightMemory, bool>;
  using Trainers = std::vector<std::unique_ptr<Trainer>>;  // one a worker

  absl::Status UseEngine(const std::string& name);
  absl::StatusOr<const Trainers*> Load(const v1::TaskPlan& plan,
                                       const MemoryChoice& choice);

  const Options options_;
  Engine* engine_ = nullptr;
  std::string engine_name_;
  std::map<Choice, Trainers> trainers_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_SHARED_BASE_H_
