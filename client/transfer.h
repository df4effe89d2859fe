#ifndef EDGETUNE_CLIENT_TRANSFER_H_
#define EDGETUNE_CLIENT_TRANSFER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/transport.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "storage/blob_store.h"

namespace edgetune {

// Moves whole blobs over a Transport whose attempts may break anywhere: goes
// on from the last durable byte, waits between attempts that brought nothing
// (0.2 s x 1.6, at most 30 s), and verifies the digest at the end. Partial
// downloads survive a restart of the program. One thread at a time. Borrows
// transport and store.
//
// Errors: Cancelled (the pause was told to stop), DataLoss with
// kDigestMismatch (twice in a row other bytes than the digest names),
// ResourceExhausted (disk full), and whatever the coordinator refused for good.
class Transfer {
 public:
  // Waits that long, or returns false at once when the work is to stop.
  using Pause = std::function<bool(absl::Duration)>;

  Transfer(Transport* transport, BlobStore* store, Pause pause)
      : transport_(transport), store_(store), pause_(std::move(pause)) {}

  // Brings the blob into the store; how many bytes crossed the wire (0 when
  // it was there).
  absl::StatusOr<uint64_t> Fetch(const Digest& digest, uint64_t size);

  // Sends `bytes`, whose SHA-256 and size `key` tells, from where the
  // coordinator stands.
  absl::Status Send(const v1::UploadKey& key, std::span<const uint8_t> bytes);

 private:
  absl::Status FetchOnce(const std::string& name, const Digest& digest,
                         uint64_t size, uint64_t* moved);
  absl::Status FetchParts(const std::string& name, const Digest& digest,
                          uint64_t size, uint64_t* moved);
  absl::StatusOr<v1::UploadStatus> SendOnce(const v1::UploadKey& key,
                                            std::span<const uint8_t> bytes);

  Transport* const transport_;
  BlobStore* const store_;
  const Pause pause_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_TRANSFER_H_
