#ifndef EDGETUNE_TESTS_SECAGG_LYING_COORDINATOR_H_
#define EDGETUNE_TESTS_SECAGG_LYING_COORDINATOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "privacy/secagg/client.h"
#include "privacy/secagg/server.h"
#include "server/rpc/rpc_server.h"
#include "tests/secagg/client_process.h"
#include "tests/secagg/papers.h"
#include "tests/secagg/real_client.h"
#include "tests/secagg/tls_fleet.h"
#include "tests/server_rpc/fake_coordinator.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// The member that is lied to; it has peers on both sides.
inline constexpr uint32_t kVictim = 1;

// A coordinator of five members that keeps to the protocol except where a test
// bends it, behind the product's gRPC door, against one real client (the
// victim). The other members are honest clients in this thread, led by a real
// SecAggServer. Life: make, bend, let the client start, Play or Assign, look.
class LyingCoordinator {
 public:
  using Body = v1::SecAggClientMessage;
  struct Options {
    uint32_t members = 5;
    std::set<uint32_t> revoked = {};
    std::set<uint32_t> unenrolled = {};
  };
  enum class Pass {
    kOn,
    kSwallow,
    kLose,  // nothing, and the server is told that the member is lost
  };
  // What the victim was brought to.
  struct Fate {
    // That it told inside the session; unspecified: it did not abort.
    v1::AbortCode code = v1::ABORT_UNSPECIFIED;
    std::optional<v1::Declined> declined;  // how it left
    std::vector<Body::BodyCase> said;      // its masking messages in order
    bool committed = false;                // a sum came out
  };

  explicit LyingCoordinator(Options options);
  LyingCoordinator() : LyingCoordinator(Options{}) {}
  ~LyingCoordinator();

  // The victim, in this process or in its own. Each starts anew on the same
  // directory.
  RealClient& MakeClient();
  ClientProcess& MakeProcess();

  // Another byte in the adapter that it serves.
  void DamageAdapter();

  Papers MakePapers(uint32_t round = 0, uint32_t attempt = 0) const;
  void Assign(const v1::Assignment& assignment);
  // The next of these; what comes before it is passed over. Fails the test
  // when nothing comes.
  v1::ClientMessage Hear(const std::set<v1::ClientMessage::BodyCase>& kinds);
  // Assigns and waits until it is refused or, where it is taken, ends it.
  v1::Declined ExpectDeclined(const v1::Assignment& assignment);
  void ExpectAccepted(const v1::Assignment& assignment);
  // Ends the session and waits until the victim is free.
  void Cancel(const v1::Assignment& assignment);

  // --- a masking session
  // What a member gets; false: it gets nothing.
  std::function<bool(uint32_t, v1::SecAggServerMessage&)> to_member;
  // What the server gets of a member.
  std::function<Pass(uint32_t, Body&)> to_server;
  std::function<void(std::vector<v1::CohortEntry>&)> cohort_made;
  // The manifest that a peer was shown, where it is another.
  std::map<uint32_t, Digest> other_manifest;
  // Asked with each message of the victim before anything is done with it;
  // true: Play returns.
  std::function<bool(const Body&)> stop;
  // Set by a hook: Play returns when what is under way is done.
  bool over = false;

  Fate Play(const v1::Assignment& assignment);
  Fate Play() { return Play(MakePapers().Sign()); }

  // --- for hooks
  // To the victim over the wire, to a peer at once.
  void Tell(uint32_t index, const v1::SecAggServerMessage& message);
  // To the victim, as if it belonged to this session.
  void SendAs(const v1::SessionKey& key,
              const v1::SecAggServerMessage& message);
  const v1::SessionKey& key() const { return key_; }
  const Digest& session() const { return server_->session(); }
  const Digest& manifest() const { return manifest_; }
  // Signed by the round key for U2 as the server fixed it.
  void SignFreeze(v1::Freeze& freeze, const std::vector<bool>& u3) const;
  void SignU2(v1::ForwardedShares& shares, const std::string& u2) const;
  // What a member signs over these sets.
  std::string SurvivorSignature(uint32_t member, const std::string& u2,
                                const std::string& u3) const;
  const std::string& u2() const { return u2_; }

  const TlsFleet fleet;
  const ScratchDirectory scratch;
  TestRun run;
  FakeCoordinator door;
  // Shares that the coordinator came to see, by dealer: holders of each kind.
  std::map<uint32_t, std::set<uint32_t>> b_shares, s_shares;

 private:
  using Server = secagg::SecAggServer;
  using Client = secagg::SecAggClient;

  void Reset(const v1::Assignment& assignment);
  void StartPeers(const v1::Assignment& assignment);
  void BeginSession(const v1::AdvertiseKeys& keys);
  bool TakeFromVictim(const Body& message, Fate& fate);
  void Drain();
  void Perform(Server::Actions actions);
  void PerformOne(Server::Action& action);
  void PerformPeer(uint32_t index, Client::Actions actions);
  void Deliver(uint32_t index, Body message);
  void NoteShares(uint32_t holder, const v1::UnmaskShares& shares);
  void FinishSum(Server::Action& action);
  v1::CohortEntry EntryOf(uint32_t index, const v1::AdvertiseKeys& keys) const;
  std::string UploadOf(const Digest& digest) const;

  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<RealClient> client_;
  std::unique_ptr<ClientProcess> process_;
  size_t heard_ = 0;

  // Of the session in progress.
  v1::SessionKey key_;
  Digest manifest_ = {};
  MaskedShape shape_;
  SystemRandom random_;
  std::map<uint32_t, Client> peers_;
  std::map<uint32_t, v1::AdvertiseKeys> advertised_;
  std::optional<Server> server_;
  std::optional<secagg::MaskedSum> sum_;
  std::map<std::string, std::string> uploads_;  // of peers
  std::string u2_;
  std::deque<std::pair<uint32_t, Body>> inbox_;
  bool committed_ = false;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_LYING_COORDINATOR_H_
