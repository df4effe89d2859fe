#ifndef EDGETUNE_TESTS_SERVER_MASKED_DEVICE_H_
#define EDGETUNE_TESTS_SERVER_MASKED_DEVICE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/assignment.h"
#include "client/masking_store.h"
#include "client/session_store.h"
#include "client/update_pipeline.h"
#include "privacy/secagg/client.h"
#include "tests/server/test_server.h"

namespace edgetune {

// The same bytes in every run of one seed; remembers what it gave out.
class RecordedRandom final : public RandomSource {
 public:
  explicit RecordedRandom(uint32_t seed);
  absl::Status Fill(std::span<uint8_t> out) override;

  std::vector<std::string> given;
  int calls_left = -1;  // 0: fails from now on; negative: never

 private:
  SeededRandom random_;
};

// The last thing that a device does not do any more: its process is killed
// just before.
enum class Leaves {
  kNever,
  kBeforeKeys,
  kBeforeShares,
  kBeforeAck,
  kBeforeUpload,
  kBeforeInput,  // uploaded, not said so
  kAfterInput,
  kBeforeSignature,
  kBeforeUnmask,
};

// A device of masked runs in one thread: the real SecAggClient, checks of
// assignments, quantisation and stores of a client, joined as the client's
// loop joins them; what it would train is known in advance. Keeps what it did,
// for those who check it. Borrows the server.
class MaskedDevice {
 public:
  struct Options {
    TestServer* server = nullptr;
    std::string id;
    int number = 0;
    uint32_t seed = 1;
    const SigningKey* identity = nullptr;
    TrustedKeys trusted;
  };
  // What happened in one masking session.
  struct Record {
    SessionId id;
    std::string adapter;  // of the manifest
    v1::RoundManifest::Kind kind;
    MaskedShape shape;
    secagg::RingVector input;  // what was masked
    std::string masked;        // what was uploaded
    std::set<std::string> freezes;     // U3 bitmaps got
    std::set<std::string> signatures;  // of survivor sets, sent
    std::set<std::string> unmask_answers;
  };

  explicit MaskedDevice(Options options);

  // A started process: takes up what its store holds.
  void Start();
  // The stream broke; it is opened again, to the server as it is now.
  void Reconnect();
  // SIGKILL.
  void Kill();
  bool alive() const { return channel_ != nullptr; }
  // Handles one message; false: there was none.
  bool Work();

  // What this device contributes to a round of this kind.
  Contribution ContributionTo(uint32_t round, v1::RoundManifest::Kind kind,
                              size_t coordinates) const;
  const std::string& id() const { return options_.id; }
  const FakeChannel& channel() const { return *channel_; }
  // What its store remembers: the survivor set that it signed in session S
  // (empty: none), and in how many it contributed.
  std::string SignedSet(const std::string& session);
  int64_t TimesSpent();

  // Gone in this round of the run, once.
  Leaves leaves = Leaves::kNever;
  uint32_t leaves_in = 0;
  bool left = false;

  // Whether the server's process is over, though this one does not know.
  std::function<bool()> server_gone;

  RecordedRandom random;
  std::map<std::string, Record> sessions;  // by S
  std::vector<std::string> declined;       // why
  std::vector<v1::Outcome> outcomes;
  std::vector<std::string> evidence;

 private:
  using Action = secagg::SecAggClient::Action;

  void Hello();
  void Send(v1::ClientMessage message);
  void Handle(const v1::ServerMessage& message);
  void Begin(const v1::Assignment& assignment);
  absl::Status TryBegin(const v1::Assignment& assignment);
  void Perform(secagg::SecAggClient::Actions actions);
  absl::Status Perform(Action& action);
  absl::Status SendMasking(v1::SecAggClientMessage message);
  void Upload(const std::string& masked);
  void Decline(const absl::Status& why);
  void End(ClientSession::Ending ending);
  bool LeavesAt(Leaves moment);
  Record& record() { return sessions[DigestBytes(party_->session())]; }

  const Options options_;
  std::unique_ptr<Database> database_;
  SessionStore session_store_;
  MaskingStore masking_store_;
  // --- gone with the process
  std::shared_ptr<FakeChannel> channel_;  // null: not running
  uint64_t connection_ = 0;
  size_t seen_ = 0;
  std::optional<VerifiedAssignment> assignment_;
  secagg::RingVector input_;
  std::optional<secagg::SecAggClient> party_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_MASKED_DEVICE_H_
