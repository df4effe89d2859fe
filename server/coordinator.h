#ifndef EDGETUNE_SERVER_COORDINATOR_H_
#define EDGETUNE_SERVER_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/envelope.h"
#include "privacy/identity/roster_file.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "storage/blob_store.h"
#include "storage/database.h"

namespace edgetune {

// Where a connected device is written to. Send never blocks and may be called
// from the coordinator's thread only; Close ends the stream. Implementations
// outlive the connection by shared ownership.
class DeviceChannel {
 public:
  virtual ~DeviceChannel() = default;
  virtual void Send(const v1::ServerMessage& message) = 0;
  virtual void Close(const absl::Status& reason) = 0;
};

// Holds the runs of one server: takes calls and timer ticks from a queue,
// hands them to each run's Round, commits a whole batch in one transaction,
// then performs what follows (messages, outcomes). Everything durable is in
// Database and BlobStore: a process killed at any instant and started again
// continues every run.
//
// Life: Make (recovers), then either Start ... Stop (own thread, real time) or
// repeated Step (tests, simulation). Every public method is thread-safe.
// Borrowed dependencies must outlive it. A failed commit is fatal: the
// `fatal` callback is called and nothing of that batch is sent.
class Coordinator {
 public:
  struct Dependencies {
    Database* database;
    BlobStore* blobs;
    const Clock* clock;
    const SigningKey* round_key;
    TrustedKeys trusted;
    // Called after a failed commit; the process exits. Default: abort.
    std::function<void(const absl::Status&)> fatal = nullptr;
  };

  // Tables of the coordinator, for Database::Open.
  static const std::vector<std::string>& Migrations();
  static absl::StatusOr<std::unique_ptr<Coordinator>> Make(
      Dependencies dependencies);
  virtual ~Coordinator() = default;

  virtual void Start() = 0;
  virtual void Stop() = 0;
  // Handles everything queued and all timers due now.
  virtual void Step() = 0;
  // When the next timer is due (InfiniteFuture: none).
  virtual absl::Time NextTimer() const = 0;

  // --- devices; `device_id` comes from the verified certificate
  // Devices that are refused from now on (replaces the list; connected ones
  // are closed).
  virtual void SetDenied(std::vector<std::string> device_ids) = 0;
  // Only active members of this roster are served from now on, newcomers and
  // connected ones alike. Before the first call (tests, simulation) everybody
  // whom the transport knows is.
  // Masked runs need one; their rounds use the newest when they begin.
  virtual void SetRoster(std::shared_ptr<const PublishedRoster> roster) = 0;
  // PermissionDenied: denied, or not active in the roster. A second connection
  // of a device replaces the first, which is closed with Aborted.
  virtual absl::StatusOr<uint64_t> Connect(
      const std::string& device_id, std::shared_ptr<DeviceChannel> channel) = 0;
  // `handled` is called once: when the batch with the message is committed and
  // its answers are sent, or when it never will be. Whoever reads a device's
  // stream reads on only then, so that no device fills the queue. It may
  // come before Receive returns and must not call the coordinator; one that is
  // destroyed without Stop may keep it to itself.
  virtual void Receive(uint64_t connection, v1::ClientMessage message,
                       std::function<void()> handled) = 0;
  virtual void Disconnect(uint64_t connection) = 0;

  // --- data plane: checked here, moved elsewhere (bytes bypass the loop)
  // NotFound unless the blob belongs to the device's current assignment.
  virtual absl::Status AuthorizeDownload(const std::string& device_id,
                                         const Digest& digest) = 0;
  // FailedPrecondition: no such session of this device is open (then "late");
  // InvalidArgument: the size is not that of the run's update. Returns the
  // BlobStore partial's name. An upload that is new waits for the batch that
  // records it, so that it is found again after a crash.
  virtual absl::StatusOr<std::string> AuthorizeUpload(
      const std::string& device_id, const v1::UploadKey& key) = 0;
  // Bytes that crossed the wire, for the run of the device's assignment.
  virtual void CountDownload(const std::string& device_id, const Digest& digest,
                             uint64_t bytes) = 0;
  virtual void CountUpload(const std::string& device_id, uint64_t bytes) = 0;

  // --- operators
  // Verifies and checks the plan, and that its blobs are here
  // (FailedPrecondition names what is missing). Idempotent.
  virtual absl::StatusOr<v1::RunStatus> Submit(const v1::Envelope& plan) = 0;
  virtual std::vector<v1::RunStatus> List() = 0;
  // NotFound, or InvalidArgument when a prefix is ambiguous.
  virtual absl::StatusOr<v1::RunStatus> Show(const std::string& run_id) = 0;
  virtual absl::StatusOr<v1::RunStatus> StopRun(const std::string& run_id) = 0;
  // Verifies a SpentOverride and gives it to its run. FailedPrecondition: it is
  // for another adapter than the run's current one.
  virtual absl::StatusOr<v1::RunStatus> Override(
      const v1::Envelope& envelope) = 0;
  // `on_change` is called from the coordinator's thread: now, after changes
  // (coalesced), and a last time when the run has ended. Until Unwatch.
  virtual absl::StatusOr<uint64_t> Watch(
      const std::string& run_id,
      std::function<void(const v1::RunStatus&)> on_change) = 0;
  virtual void Unwatch(uint64_t watch) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_COORDINATOR_H_
