#ifndef EDGETUNE_CLIENT_TRANSPORT_H_
#define EDGETUNE_CLIENT_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "protos/edgetune/v1/federation.pb.h"

namespace edgetune {

// A device's connection to its coordinator: one stream that is reopened with
// back-off (0.2 s x 1.6, +-20 %, at most 30 s) until Close, and bulk transfers
// beside it. Life: Start, ..., Close. Thread-safe.
class Transport {
 public:
  // Called from the transport's own thread; must not block.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnUp() = 0;  // the stream is open: say hello
    virtual void OnMessage(const v1::ServerMessage& message) = 0;
    // The stream broke and will be reopened, unless the status is
    // PermissionDenied or Unauthenticated: then it is final.
    virtual void OnDown(const absl::Status& status) = 0;
  };

  virtual ~Transport() = default;

  virtual absl::Status Start(Listener* listener) = 0;
  // No callback runs after it returns.
  virtual void Close() = 0;
  // Queued while the stream is up; dropped while it is down (the session says
  // everything that matters again after OnUp).
  virtual void Send(const v1::ClientMessage& message) = 0;

  // One attempt from `offset`; `sink` gets verified chunks in order, and
  // total_size is known before its first call. Unavailable: try again from
  // where the sink stands.
  virtual absl::Status Download(
      const Digest& digest, uint64_t offset,
      const std::function<absl::Status(std::span<const uint8_t> data,
                                       uint64_t total_size)>& sink) = 0;
  // One attempt from `offset`, which must equal the committed size.
  virtual absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t offset,
      std::span<const uint8_t> bytes) = 0;
  virtual absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_TRANSPORT_H_
