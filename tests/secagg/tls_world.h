#ifndef EDGETUNE_TESTS_SECAGG_TLS_WORLD_H_
#define EDGETUNE_TESTS_SECAGG_TLS_WORLD_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/parameters.h"
#include "server/coordinator.h"
#include "server/rpc/rpc_server.h"
#include "tests/secagg/real_client.h"
#include "tests/secagg/scripted_device.h"
#include "tests/secagg/tls_fleet.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// The real coordinator behind its real door, and devices that a test scripts;
// all of them are asked in the first attempt of a round. Rounds of equal
// weights in a ring of 16 bits: a sum that is off by one shows in the adapter.
// Nothing waits for a deadline: devices answer or go. One thread: the hooks of
// devices, which run before Submit returns too, use the coordinator at most.
class TlsWorld {
 public:
  explicit TlsWorld(uint32_t size);
  ~TlsWorld();

  // Starts devices that a test has not, waits until the coordinator knows
  // everybody, submits run.plan.
  void Submit();
  // A real client in the place of a device; before Submit.
  RealClient& UseRealClient(uint32_t index);
  // The roster with these devices revoked, as the coordinator's newest.
  void PublishRoster(const std::set<uint32_t>& revoked);
  // The coordinator's process is gone and another one comes, on the same port.
  void RestartServer();

  v1::RunStatus Status();
  // Polls until this holds, for a minute; the last status.
  v1::RunStatus WaitUntil(
      const std::function<bool(const v1::RunStatus&)>& condition);
  // An event whose text holds this has come.
  bool WaitEvent(const std::string& text);
  size_t CountEvents(const std::string& text);
  // The receipt of this round.
  v1::RoundReceipt WaitReceipt(int round = 0);
  // Points of blame of a member.
  uint32_t ScoreOf(uint32_t index);
  // Whether version 1 of the adapter is the initial one plus the mean of what
  // these devices masked.
  void ExpectAdapterIsMeanOf(const std::vector<uint32_t>& indices);
  std::vector<Row> Rows(const char* sql);

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  ScriptedDevice& device(uint32_t index) { return *devices_[index]; }
  Coordinator& coordinator() { return *coordinator_; }

  const TlsFleet fleet;
  const ScratchDirectory scratch;
  TestRun run;

 private:
  void StartServer();
  void StopServer();
  ParameterVector Adapter(uint32_t version);

  const RealClock clock_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<RpcServer> rpc_;
  int port_ = 0;
  std::shared_ptr<const PublishedRoster> roster_;
  std::string run_id_;
  std::vector<std::unique_ptr<ScriptedDevice>> devices_;
  std::map<uint32_t, std::unique_ptr<RealClient>> clients_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_TLS_WORLD_H_
