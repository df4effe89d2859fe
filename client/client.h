#ifndef EDGETUNE_CLIENT_CLIENT_H_
#define EDGETUNE_CLIENT_CLIENT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "client/base_models.h"
#include "client/local_data.h"
#include "client/transport.h"
#include "client/work_runner.h"
#include "config/daemon_files.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/identity/envelope.h"
#include "storage/blob_store.h"
#include "storage/database.h"
#include "training/engine_loader.h"

namespace edgetune {

// One device's client: keeps the transport up, takes part in rounds one at a
// time, and does what ClientSession (the pure state machine) decides: verify,
// fetch, evaluate, train, protect, upload, report.
//
// Life: Make, Run (returns when asked to stop, after one participation with
// `once`, or on a final error), destroy. Whoever has a loop for many clients
// (simulation) calls, in place of Run: Start; Step after every callback of the
// transport, every finished step and at NextTimer, until HasEnded; Leave.
// RequestStop is async-signal-safe; other methods belong to one thread.
// Borrowed dependencies must outlive it.
class Client {
 public:
  struct Dependencies {
    Transport* transport;
    Database* database;  // migrations: Client::Migrations()
    BlobStore* cache;
    const Clock* clock;
    // Opens an engine when first needed (composition root: LoadEngine).
    std::function<absl::StatusOr<Engine*>(std::string_view)> engine;
    TrustedKeys trusted;
    // Masked runs: the name in this device's certificate and its identity key
    // (borrowed). Without a key they are declined.
    std::string device_id = {};
    const SigningKey* identity = nullptr;
    // A simulated fleet's; borrowed. Without them this client has a thread and
    // a model cache of its own, reads its files and draws from the system.
    WorkRunner* work = nullptr;
    BaseModels* models = nullptr;
    ReadData read_data = nullptr;
    RandomSource* random = nullptr;
  };
  struct Options {
    ClientFile file;
    bool once = false;
    // After declining a session, before asking for work again.
    absl::Duration decline_pause = absl::Seconds(10);
  };

  static const std::vector<std::string>& Migrations();
  static absl::StatusOr<std::unique_ptr<Client>> Make(Dependencies dependencies,
                                                      Options options);
  virtual ~Client() = default;

  // OK: stopped, or `once` and done (an accepted report, or nothing to do).
  // kIdentity, kData, kModel and the like otherwise; FailedPrecondition when
  // `once` ended without an accepted report.
  virtual absl::Status Run() = 0;
  virtual void RequestStop() = 0;

  virtual absl::Status Start() = 0;
  // Handles all news and timers that are due; never waits.
  virtual void Step() = 0;
  virtual absl::Time NextTimer() const = 0;
  // As Run would have returned.
  virtual bool HasEnded() const = 0;
  // What Run would return. Closes the transport; a step in progress is told to
  // stop.
  virtual absl::Status Leave() = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_CLIENT_H_
