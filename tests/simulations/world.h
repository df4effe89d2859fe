#ifndef EDGETUNE_TESTS_SIMULATIONS_WORLD_H_
#define EDGETUNE_TESTS_SIMULATIONS_WORLD_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "client/client.h"
#include "server/coordinator.h"
#include "simulations/in_process_transport.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// Devices are called after what their data are about; most fleets have four.
inline constexpr const char* kNames[] = {"animal",   "food",  "motion",
                                         "artifact", "plant", "body"};
inline constexpr int kDevices = 4;

// One device: what survives a crash of its client, and the client itself.
class Device {
 public:
  Device(InProcessNetwork* network, const TestKeys* keys, std::string directory,
         std::string name, Engine* engine);
  ~Device();

  void Start(bool once = false);
  // Asks to stop and waits; what Run returned.
  absl::Status Stop();
  // Waits until Run returns by itself.
  absl::Status Wait();

  ClientFile file;
  std::string name;
  const SigningKey identity;
  // Asked for each message that would leave, on the client's thread; false: it
  // is lost, as when a stream breaks. Set before Start.
  std::function<bool(const v1::ClientMessage&)> lets_pass;
  // Told of all bytes that are uploaded, on a thread of the client. Set before
  // Start.
  std::function<void(std::span<const uint8_t>)> on_upload;
  // What the client keeps, while it does not run.
  std::unique_ptr<Database> OpenState() const;
  std::unique_ptr<InProcessTransport> transport;  // of the last Start

 private:
  class Lossy;

  InProcessNetwork* const network_;
  const TestKeys* const keys_;
  const std::string directory_;
  Engine* const engine_;
  const RealClock clock_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobStore> cache_;
  std::unique_ptr<Lossy> lossy_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
  absl::Status result_;
};

// A coordinator and its devices in this process, on real threads and time.
class World {
 public:
  explicit World(uint32_t cohort);
  ~World();

  void StartServer();
  void StopServer();  // destroys it; the devices stay
  // `examples` lines of data about the device's name.
  Device& AddDevice(const std::string& device, int examples, Engine* engine);

  // A signed roster of all devices, as the coordinator's newest.
  void PublishRoster();
  // Puts base and adapter on the server, publishes the roster, and submits
  // run.plan.
  void Submit();
  v1::RunStatus Status();
  v1::RunStatus Stop();
  // For the newest adapter, as the release key's owner would write it.
  v1::SpentOverride MakeOverride(uint32_t extra);
  absl::StatusOr<v1::RunStatus> Override(const v1::SpentOverride& document,
                                         const SigningKey& key);
  // Changes rows, while the server is stopped.
  void ExecuteOnServer(const char* sql);
  // The bytes of a blob on the server.
  std::string Blob(const std::string& digest);
  // Polls until `condition` holds or the run has ended; the last status.
  v1::RunStatus WaitUntil(
      const std::function<bool(const v1::RunStatus&)>& condition);
  v1::RunStatus WaitEnded();
  // The adapter of each card, oldest first.
  std::vector<ParameterVector> Adapters();
  // Runs the plan of a cohort of one on one device with this engine, and
  // expects the adapter of the verb `train`, bit for bit.
  void ExpectOneDeviceEqualsLocalTraining(Engine& engine);
  // What the verb `train` does with the same plan and data: each segment from
  // where the one before ended, through the same exact mean.
  ParameterVector TrainLocally(const ClientFile& file, Trainer& trainer,
                               const ModelFile& model) const;

  const ScratchDirectory scratch;
  const TestKeys keys = MakeTestKeys();
  TestRun run;
  std::map<std::string, std::unique_ptr<Device>> devices;

 private:
  const RealClock clock_;
  InProcessNetwork network_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Coordinator> coordinator_;
  std::string run_id_;
  std::shared_ptr<const PublishedRoster> roster_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_WORLD_H_
