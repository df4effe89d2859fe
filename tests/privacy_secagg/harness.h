#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_HARNESS_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_HARNESS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "privacy/crypto/signature_memo.h"
#include "privacy/secagg/client.h"
#include "privacy/secagg/masked_vector.h"
#include "privacy/secagg/server.h"
#include "tests/privacy_secagg/fleet.h"
#include "tests/privacy_secagg/random_sources.h"
#include "tests/privacy_secagg/shapes.h"

namespace edgetune::secagg {

// Where a client stops for good: it does not advertise; it does not get the
// cohort; its shares, its acknowledgement, the end of its upload, its survivor
// signature, its unmasking answer does not leave it.
enum class Stage { kR0, kR1, kR2, kR2b, kR3, kR4, kR5, kNever };

// One masking session in one thread and virtual time: real clients, a real
// server, its sum, its blobs and the batches of records it committed, joined
// by a network that a test can bend. Equal options and hooks give equal
// histories, byte by byte. Life: make, bend, Run, look.
class Harness {
 public:
  enum class Death { kBeforeCommit, kAfterCommit, kAfterSends };
  struct Options {
    uint32_t n = 10;  // of the fleet; all advertise unless they stop at R0
    MaskedShape shape = ShapeWithLanes(32, 10, 6);
    uint32_t seed = 1;
    // Deliveries are delayed by up to this, so that they overtake each other.
    absl::Duration delay = absl::ZeroDuration();
    // Out of 256: a delivery comes twice or three times.
    uint32_t duplicates = 0;
    // Whether the server is told at once that a client stopped; otherwise it
    // waits for the deadline.
    bool tell_lost = true;
    // Kills the server once, at the commit of this batch (from 1; 0: never).
    size_t death_batch = 0;
    Death death = Death::kAfterCommit;
  };
  struct Client {
    std::optional<SecAggClient> party;
    std::optional<SeededRandom> random;
    RingVector input;
    Stage stop = Stage::kNever;
    bool alive = true;
    // What it did.
    int spends = 0;
    int uploads = 0;
    std::set<std::string> survivor_signatures;
    std::set<std::string> unmask_answers;
    std::vector<std::string> remembered;
    std::vector<v1::Contradiction> evidence;
    std::optional<v1::AbortCode> aborted;
    std::string detail;
  };
  struct Refusal {
    uint32_t index;
    v1::AbortCode code;
    std::string document;
  };

  Harness(const Fleet& fleet, Options options);
  // Member i of every harness that is made with these, by itself; it borrows
  // from the fleet and from `client`, which must not move.
  static void MakeClient(const Fleet& fleet, const Options& options, uint32_t i,
                         Client& client);

  // Bends one message; false: it does not arrive. Called before the network.
  std::function<bool(uint32_t, v1::SecAggServerMessage&)> to_client;
  std::function<bool(uint32_t, v1::SecAggClientMessage&)> to_server;
  // What the server gets as the upload.
  std::function<void(uint32_t, std::string&)> upload;
  // The cohort before the server begins.
  std::function<void(std::vector<v1::CohortEntry>&)> cohort_made;

  // Clients are not told that the session is over.
  bool keep_clients = false;

  // R0, then everything until nobody has anything to do.
  void Run();
  // Between these two a test may act by itself.
  void Begin();
  // One delivery, or the next deadline. False: there is nothing to do.
  bool Step();
  void Drain();
  // As the server's shell does.
  void Perform(SecAggServer::Actions actions);
  // One message as if it came from there, through no hook.
  void Inject(uint32_t index, const v1::SecAggClientMessage& message);
  SecAggClient::Actions Tell(uint32_t index,
                             const v1::SecAggServerMessage& message);
  // Kills the server and starts it from its records; all streams are new.
  void Restart();

  // Position in `clients` of each member of the cohort.
  const std::vector<uint32_t>& who() const { return who_; }
  Client& member(uint32_t index) { return clients[who_[index]]; }
  // Sum of the inputs of these members, without canaries, by plain addition.
  std::vector<int64_t> PlainSum(const std::vector<bool>& members) const;
  // Nothing of the session contradicts I1 to I4 (empty), or what does.
  std::string BrokenInvariant() const;
  bool Committed() const { return !sums.empty() && server->phase() == kDone; }
  v1::AbortCode code() const { return server->abort_code(); }

  static constexpr auto kDone = SecAggServer::Phase::kDone;

  const Fleet& fleet;
  const Options options;
  Digest manifest = {};
  std::vector<Client> clients;
  std::optional<SecAggServer> server;
  std::vector<std::vector<SecAggServer::Record>> batches;  // committed
  std::map<std::string, std::string> blobs;
  absl::Time now = absl::FromUnixSeconds(1'000'000);
  // What the server did.
  std::vector<std::vector<int64_t>> sums;  // unmasked
  std::vector<Refusal> refusals;
  std::vector<std::pair<uint32_t, uint32_t>> blames;
  std::vector<std::pair<uint32_t, v1::AbortCode>> left;
  std::vector<std::string> frozen;  // bitmaps of U3 that it sent
  int late = 0;
  int restarts = 0;
  bool mismatch = false;   // a sum was refused by its canaries or bounds
  std::string transcript;  // everything sent and recorded, hashed in a chain

 private:
  struct Delivery {
    uint32_t index;
    std::shared_ptr<const v1::SecAggServerMessage> down;
    std::shared_ptr<const v1::SecAggClientMessage> up;
  };

  void Perform(uint32_t index, SecAggClient::Actions actions);
  void PerformOne(SecAggServer::Action& action);
  void Take(SecAggServer::Action& action);
  void SendUp(uint32_t index, v1::SecAggClientMessage message);
  void Post(Delivery delivery);
  void Deliver(const Delivery& delivery);
  void Stop(uint32_t index);
  bool StopsAt(uint32_t index, Stage stage);
  void Chain(std::string_view bytes);
  SecAggServer::Options ServerOptions() const;

  const SignatureMemo memo_;  // members verify the same signatures
  std::vector<uint32_t> who_;
  std::vector<v1::CohortEntry> cohort_;
  SeededRandom network_;
  std::map<std::pair<absl::Time, uint64_t>, Delivery> queue_;
  uint64_t posted_ = 0;
  SecAggServer::Deadlines deadlines_;
  std::optional<MaskedSum> sum_;
};

// Runs that take long are as long as the design says with EDGETUNE_LONG=1.
size_t Runs(size_t in_short, size_t in_long);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_HARNESS_H_
