#ifndef EDGETUNE_SIMULATIONS_FLEET_SIMULATED_DEVICE_H_
#define EDGETUNE_SIMULATIONS_FLEET_SIMULATED_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/identity/envelope.h"
#include "simulations/fleet/device_model.h"
#include "simulations/fleet/fleet_observer.h"
#include "simulations/fleet/fleet_transport.h"
#include "simulations/fleet/shared_base.h"
#include "simulations/fleet/worker_pool.h"
#include "storage/database.h"
#include "storage/memory_blobs.h"

namespace edgetune {

// What a device has in place of its trainer, which is another on each worker;
// null: that itself.
using ReplaceTrainer = std::function<std::unique_ptr<Trainer>(
    size_t device, std::function<Trainer&()> trainer)>;

// What the devices of one fleet share; all of it outlives them.
struct FleetGround {
  FleetTransport::Network network;
  VirtualClock* clock;
  MemoryBlobs* memory;
  SharedBase* base;
  WorkerPool* workers;
  const DeviceModel* model;
  const ReadData* read_data;
  const ReplaceTrainer* replace_trainer;  // may be empty
  TrustedKeys trusted;
  std::string population;
  // Training fits a device's memory or is declined; else nobody can say what it
  // takes, and no device has a limit.
  bool budgets = false;
  uint64_t seed = 0;
  FleetObserver* observer;
  // Of the whole run: what is being computed is then not waited for.
  const StopToken* stop = nullptr;
};

// One device of a simulated fleet: the real Client in virtual time. What it
// keeps (state, blobs) outlives TurnOff, as on a device. Transfers happen when
// they begin and evaluation and training on the fleet's workers; the client
// goes on, and what the step made is kept, when the device would be done: one
// that goes off-line before has nothing of it. One thread, that of the fleet.
class SimulatedDevice final : private WorkRunner {
 public:
  // `name`: of the device and of its data.
  static absl::StatusOr<std::unique_ptr<SimulatedDevice>> Make(
      const FleetGround* ground, size_t number, std::string name,
      const SigningKey* identity);
  ~SimulatedDevice() override;

  void TurnOn();
  void TurnOff();
  // Before it is turned off with all others: it need not compute any more.
  void Halt();
  bool is_on() const { return client_ != nullptr; }
  // It was assigned a session whose outcome it has not heard yet.
  bool in_session() const { return is_on() && session_.has_value(); }
  // Why the client ended by itself, if it did: it will not come again.
  const std::optional<absl::Status>& ended() const { return ended_; }

 private:
  SimulatedDevice(const FleetGround* ground, size_t number, std::string name,
                  const SigningKey* identity, SeededRandom random);

  SharedBase::Hooks MakeHooks();
  void Start(WorkStep step, Job job, Done done) override;
  void Interrupt() override;
  void Transfer(bool up, const Job& job, Done done);
  void Compute(absl::Duration takes, Job job, Done done);
  absl::Status AwaitComputing();
  void FinishAfter(absl::Duration takes, std::function<absl::Status()> result,
                   Done done);
  void FinishWork();
  void VanishWithin(absl::Duration work);
  void Vanish();
  // Lets the client handle what came, and sets its alarm.
  void Step();
  // `what` at that time, unless the device was turned off meanwhile.
  void At(absl::Time when, std::function<void()> what);

  absl::StatusOr<LocalData> ReadAndMeasure(const ClientFile::Data& data,
                                           const v1::TaskPlan& plan,
                                           const ModelFile& model);
  void OnSend(const v1::ClientMessage& message);
  void OnReceive(const v1::ServerMessage& message);
  void OnAssignment(const v1::Assignment& assignment);
  void Tell(SessionNews::Kind kind, std::string reason = "",
            const v1::Report* report = nullptr);

  const FleetGround* const ground_;
  const size_t number_;
  const std::string name_;
  const SigningKey* const identity_;
  SeededRandom random_;
  // What a device keeps.
  std::unique_ptr<Database> database_;
  MemoryBlobStore blobs_;
  std::unique_ptr<BaseModels> base_;

  // While it is on.
  std::unique_ptr<FleetTransport> transport_;
  std::unique_ptr<Client> client_;
  std::shared_ptr<const bool> on_;  // expires with TurnOff
  std::shared_future<absl::Status> computing_;
  std::function<void()> finish_;  // tells the client of its work; null: none
  uint64_t works_ = 0;            // begun or interrupted
  absl::Duration one_step_;       // of the training in progress
  absl::Time alarm_ = absl::InfiniteFuture();
  bool stepping_ = false;
  std::optional<absl::Status> ended_;

  // Of the session in progress.
  std::optional<SessionNews> session_;
  std::optional<v1::Report> report_;
  // Round and attempt: once it is back it stays to the end of these.
  std::optional<std::pair<uint32_t, uint32_t>> vanished_from_;
  uint64_t down_before_ = 0, up_before_ = 0;
  // Tokens of its data.
  uint64_t training_tokens_ = 0, evaluation_tokens_ = 0;  // of one session
  uint64_t steps_ = 1;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_SIMULATED_DEVICE_H_
