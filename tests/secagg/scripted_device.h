#ifndef EDGETUNE_TESTS_SECAGG_SCRIPTED_DEVICE_H_
#define EDGETUNE_TESTS_SECAGG_SCRIPTED_DEVICE_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/transport.h"
#include "privacy/secagg/client.h"
#include "tests/secagg/tls_fleet.h"

namespace edgetune::testing {

// A device over gRPC with mutual TLS that does in masked rounds what the
// protocol says, with the product's SecAggClient, except where a test bends
// it. It checks no document and trains nothing: its update is `value` in every
// coordinate. Hooks and members below them run on or belong to its own thread;
// set them before Start. Other methods are thread-safe.
class ScriptedDevice final : private Transport::Listener {
 public:
  using Body = v1::SecAggClientMessage;

  ScriptedDevice(const TlsFleet& fleet, uint32_t member, std::string address);
  ~ScriptedDevice() override;

  void Start();
  void Stop();
  // Drops its stream without a word; its session stays. Start goes on with it.
  void Disconnect();

  // Before a masking message leaves; false: it does not.
  std::function<bool(Body&)> to_server;
  // The vector before it is signed for and leaves.
  std::function<void(std::string&)> upload;
  // After the vector was sent, before MaskedInput is; false: it is not.
  std::function<bool()> uploaded;
  float value = 0.01f;
  double weight = 0.5;  // where the plan weighs

  // Sends a masking message of the current session as it is.
  void Send(const Body& message);
  void SendRaw(const v1::ClientMessage& message);
  // Signs anew what a test has changed, as this device.
  void Sign(Body& message) const;

  // Each false when it did not come to be within 20 s.
  bool WaitIdle();  // the coordinator knows it and has nothing for it
  bool WaitOutcomes(size_t count);
  bool WaitDown();
  v1::Outcome OutcomeAt(size_t index);
  // Why its newest stream, or the last attempt to open one, ended.
  absl::Status down();
  // How many streams ended that the coordinator had accepted.
  size_t ended_streams();
  // The vector of the newest session was sent (and perhaps taken).
  bool WaitUpload();
  v1::UploadKey upload_key();
  // Of the session it was assigned last.
  v1::SessionKey session_key();
  // What was masked in the newest attempt of a round.
  secagg::RingVector InputOf(uint32_t round);
  // What `uploaded` held back.
  void FinishUpload();
  Transport& transport() { return *transport_; }

  const TlsFleet::Member& member;

 private:
  using Kind = secagg::SecAggClient::Action::Kind;

  void OnUp() override;
  void OnMessage(const v1::ServerMessage& message) override;
  void OnDown(const absl::Status& status) override;

  void Push(std::function<void()> task);
  void Serve();
  bool Wait(const std::function<bool()>& done);
  void SayHello();
  void Handle(const v1::ServerMessage& message);
  void Begin(const v1::Assignment& assignment);
  void Perform(secagg::SecAggClient::Actions actions);
  void Upload(std::string masked);

  const TlsFleet& fleet_;
  const std::string address_;
  std::unique_ptr<Transport> transport_;
  std::thread thread_;
  SystemRandom random_;
  std::optional<secagg::SecAggClient> party_;
  std::optional<std::string> bent_;  // a vector other than the party's

  std::mutex mu_;
  std::condition_variable changed_;
  // All below guarded by mu_.
  std::deque<std::function<void()>> tasks_;
  bool stopped_ = false;
  bool idle_ = false;
  v1::SessionKey key_;
  std::map<uint32_t, secagg::RingVector> inputs_;
  std::optional<v1::UploadKey> upload_key_;
  std::vector<v1::Outcome> outcomes_;
  std::optional<absl::Status> down_;
  bool up_ = false;
  size_t ended_streams_ = 0;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_SCRIPTED_DEVICE_H_
