#ifndef EDGETUNE_SIMULATIONS_FLEET_FLEET_H_
#define EDGETUNE_SIMULATIONS_FLEET_FLEET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/parameters.h"
#include "client/local_data.h"
#include "models/io/model_file.h"
#include "privacy/crypto/signature.h"
#include "privacy/crypto/signature_memo.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "server/coordinator.h"
#include "simulations/fleet/device_model.h"
#include "simulations/fleet/fleet_observer.h"
#include "simulations/fleet/simulated_device.h"
#include "simulations/fleet/step_journal.h"
#include "training/engine_loader.h"
#include "training/trainer.h"

namespace edgetune {

// A whole fleet on one machine: the real Coordinator and, for each device, the
// real Client, in virtual time. Nothing is averaged, masked or decided here.
//
// One seed gives one result and one order of events, whatever the number of
// workers: what happens when follows from the DeviceModel alone, and what
// training gives from plan, adapter and data alone. Signatures, nonces and
// session keys are drawn from the system; they show in neither.
//
// Life: Make, Run once, then the rest. One thread. Borrows what it is given.
class Fleet {
 public:
  struct Options {
    // A checked plan, its payload, and the blob of its initial adapter.
    v1::TaskPlan plan;
    std::string plan_payload;
    std::string initial_blob;
    // The base, and the files that its parts come from, in their order.
    std::shared_ptr<const ModelFile> model;
    std::vector<std::string> model_files;
    std::function<absl::StatusOr<Engine*>(std::string_view)> engine;
    // One device each, by the name of its data: also its id.
    std::vector<std::string> devices;
    ReadData read_data;
    ReplaceTrainer replace_trainer = {};  // empty: nobody's
    const DeviceModel* model_of_devices;
    FleetObserver* observer;
    uint64_t seed = 1;
    size_t workers = 1;
    int threads = 1;                       // of each worker's trainer
    absl::Time start = absl::UnixEpoch();  // when the plan was signed, or after
    StepJournal* journal = nullptr;        // of a run that may be killed
    // Where blobs that nobody reads are spilled to; empty: they stay in memory.
    std::string spill_directory = {};
    uint64_t most_blobs = UINT64_MAX;  // bytes of blobs in memory, about
    // That this process may have in memory; 0: any.
    uint64_t most_memory = 0;
  };

  // Errors of whatever cannot be made: kModel, kConfig.
  static absl::StatusOr<std::unique_ptr<Fleet>> Make(Options options);
  ~Fleet();

  // Until the run has ended; its last status. Cancelled: stopped. The
  // observer's status, if it is an error. ResourceExhausted: the process has
  // more in memory than it may, or blobs cannot be spilled.
  // FailedPrecondition: the run waits, and nothing will ever happen any more;
  // where a device ended by itself, why the first did.
  absl::StatusOr<v1::RunStatus> Run(const StopToken& stop);

  // The newest adapter.
  absl::StatusOr<ParameterVector> ReadAdapter() const;
  absl::Time now() const { return clock_.Now(); }
  // What the devices compute with, for other work than theirs after Run.
  WorkerPool& workers() { return *workers_; }
  std::unique_ptr<BaseModels> MakeModels() {
    return base_->MakeHandle({.fetch = [](const v1::FilePart&) {}});
  }

 private:
  explicit Fleet(Options options);
  absl::Status StartCoordinator();
  absl::Status MakeDevices();
  absl::Status PublishRoster();
  absl::Status Submit();
  void TurnOn(size_t device);
  // Lets the coordinator work; whether the run went on.
  bool StepCoordinator();
  absl::StatusOr<v1::RunStatus> Observe();
  // After the run went on: what nobody reads any more leaves memory.
  absl::Status KeepMemory(const v1::RunStatus& status);
  void RunEvents(absl::Time until);
  // After the run's end: what was told to devices arrives.
  void DeliverOutcomes();
  absl::Status NothingWillHappen() const;

  const Options options_;
  const SignatureMemo memo_;  // all devices verify the same documents
  VirtualClock clock_;
  EventQueue queue_;
  MemoryBlobs memory_;
  MemoryBlobStore blobs_;  // the coordinator's
  std::unique_ptr<Database> database_;
  std::unique_ptr<SigningKey> release_key_, round_key_, roster_key_;
  std::vector<SigningKey> identities_;  // of plans that mask
  std::unique_ptr<Coordinator> coordinator_;
  std::string run_id_;
  bool went_on_ = false;
  int versions_ = 0;  // of the adapter, that were seen
  std::unique_ptr<SharedBase> base_;
  std::unique_ptr<WorkerPool> workers_;
  FleetGround ground_;
  std::vector<std::unique_ptr<SimulatedDevice>> devices_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_FLEET_H_
