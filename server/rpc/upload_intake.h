#ifndef EDGETUNE_SERVER_RPC_UPLOAD_INTAKE_H_
#define EDGETUNE_SERVER_RPC_UPLOAD_INTAKE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "server/rpc/upload_slots.h"
#include "storage/blob_store.h"

namespace edgetune {

// One stream of chunks on its way into the BlobStore, whoever sends it: checks
// each chunk and appends it to a partial file. Life: Begin, Accept..., Finish;
// after an error only destruction. One caller at a time. Borrowed dependencies
// outlive it. Errors: InvalidArgument (malformed, too large a chunk),
// FailedPrecondition (offset is not the committed size), DataLoss (CRC or
// SHA-256), Aborted (a newer stream took over), OutOfRange.
class UploadIntake {
 public:
  struct Dependencies {
    BlobStore* blobs;
    UploadSlots* slots;
    // Who sends, as "device/d1".
    std::string identity;
    // Name of the partial file, if the upload is still wanted. Asked at the
    // start, after every 4 MiB and at the end: a right that was withdrawn
    // meanwhile ends the upload.
    std::function<absl::StatusOr<std::string>()> authorize;
    // Bytes that arrived in good order.
    std::function<void(uint64_t)> count;
  };

  explicit UploadIntake(Dependencies dependencies)
      : dependencies_(std::move(dependencies)) {}

  absl::Status Begin(std::string_view sha256, uint64_t size);
  absl::Status Accept(uint64_t offset, std::string_view data, uint32_t crc32c);
  // Publishes the blob when all bytes are there, else tells how many are.
  absl::StatusOr<v1::UploadStatus> Finish();
  // The blob was here before its first byte came.
  bool complete() const { return complete_; }

 private:
  // The server's full disk is not the device's: it is told to try again;
  // operators get the true text.
  absl::Status Stored(const absl::Status& status) const;
  absl::Status Reauthorize();
  absl::Status CheckOwned() const;

  const Dependencies dependencies_;
  std::shared_ptr<UploadSlots::Slot> slot_;
  std::string name_;
  Digest digest_ = {};
  uint64_t size_ = 0;
  uint64_t committed_ = 0;
  uint64_t authorized_until_ = 0;
  bool complete_ = false;
};

// Where an upload stands: complete, or bytes of its partial file.
absl::StatusOr<v1::UploadStatus> QueryPartial(const BlobStore& blobs,
                                              const std::string& name,
                                              std::string_view sha256,
                                              uint64_t size);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_UPLOAD_INTAKE_H_
