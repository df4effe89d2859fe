#include "server/rpc/upload_intake.h"

#include <fmt/format.h>

#include <mutex>
#include <span>

#include "base/log.h"
#include "base/status.h"

namespace edgetune {
namespace {

constexpr uint64_t kMaxChunkBytes = 256 << 10;
constexpr uint64_t kBlockBytes = 4 << 20;

v1::UploadStatus MakeStatus(uint64_t committed, bool complete) {
  v1::UploadStatus status;
  status.set_committed(committed);
  status.set_complete(complete);
  return status;
}

bool Holds(const BlobStore& blobs, const Digest& digest, uint64_t size) {
  if (!blobs.Has(digest)) return false;
  auto there = blobs.Size(digest);
  return there.ok() && *there == size;
}

absl::StatusOr<uint64_t> SizeOfPartial(const BlobStore& blobs,
                                       const std::string& name) {
  auto size = blobs.PartialSize(name);
  if (absl::IsNotFound(size.status())) return 0;
  return size;
}

absl::Status CheckChunk(uint64_t offset, std::string_view data,
                        uint32_t crc32c) {
  if (data.size() > kMaxChunkBytes) {
    return absl::InvalidArgumentError(
        fmt::format("chunk at byte {} has {} bytes; at most {} are accepted",
                    offset, data.size(), kMaxChunkBytes));
  }
  uint32_t got = Crc32c(data);
  if (got == crc32c) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("chunk at byte {} arrived damaged: CRC-32C {:08x}, wanted "
                  "{:08x}",
                  offset, got, crc32c));
}

}  // namespace

absl::Status UploadIntake::Reauthorize() {
  auto name = dependencies_.authorize();
  EDGETUNE_RETURN_IF_ERROR(name);
  name_ = *std::move(name);
  return absl::OkStatus();
}

absl::Status UploadIntake::CheckOwned() const {
  if (!slot_->superseded) return absl::OkStatus();
  return absl::AbortedError("a newer stream continues this upload");
}

absl::Status UploadIntake::Begin(std::string_view sha256, uint64_t size) {
  EDGETUNE_ASSIGN_OR_RETURN(digest_, DigestFromBytes(sha256));
  if (size == 0) {
    return absl::InvalidArgumentError("upload announces 0 bytes; at least 1");
  }
  size_ = size;
  EDGETUNE_RETURN_IF_ERROR(Reauthorize());
  if (Holds(*dependencies_.blobs, digest_, size_)) {
    complete_ = true;
    committed_ = size_;
    return absl::OkStatus();
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      slot_, dependencies_.slots->Take(dependencies_.identity, name_));
  EDGETUNE_ASSIGN_OR_RETURN(committed_,
                            SizeOfPartial(*dependencies_.blobs, name_));
  authorized_until_ = committed_ + kBlockBytes;
  return absl::OkStatus();
}

absl::Status UploadIntake::Stored(const absl::Status& status) const {
  if (!absl::IsResourceExhausted(status) ||
      !dependencies_.identity.starts_with("device/")) {
    return status;
  }
  LogWarning("cannot store an upload: " + std::string(status.message()));
  return absl::UnavailableError("the coordinator cannot store the update now");
}

absl::Status UploadIntake::Accept(uint64_t offset, std::string_view data,
                                  uint32_t crc32c) {
  EDGETUNE_RETURN_IF_ERROR(CheckChunk(offset, data, crc32c));
  if (complete_) return absl::OkStatus();
  if (offset != committed_) {
    return absl::FailedPreconditionError(fmt::format(
        "chunk is for byte {}, wanted byte {}", offset, committed_));
  }
  if (data.empty()) return absl::OkStatus();
  if (committed_ >= authorized_until_) {
    EDGETUNE_RETURN_IF_ERROR(Reauthorize());
    authorized_until_ = committed_ + kBlockBytes;
  }
  std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(data.data()),
                                 data.size());
  {
    std::lock_guard<std::mutex> lock(slot_->mu);
    EDGETUNE_RETURN_IF_ERROR(CheckOwned());
    EDGETUNE_RETURN_IF_ERROR(Stored(
        dependencies_.blobs->AppendPartial(name_, offset, bytes, size_)));
  }
  committed_ += data.size();
  dependencies_.count(data.size());
  return absl::OkStatus();
}

absl::StatusOr<v1::UploadStatus> UploadIntake::Finish() {
  if (!complete_ && committed_ == size_) {
    EDGETUNE_RETURN_IF_ERROR(Reauthorize());
    std::lock_guard<std::mutex> lock(slot_->mu);
    EDGETUNE_RETURN_IF_ERROR(CheckOwned());
    EDGETUNE_RETURN_IF_ERROR(
        Stored(dependencies_.blobs->FinishPartial(name_, digest_, size_)));
    complete_ = true;
  }
  return MakeStatus(committed_, complete_);
}

absl::StatusOr<v1::UploadStatus> QueryPartial(const BlobStore& blobs,
                                              const std::string& name,
                                              std::string_view sha256,
                                              uint64_t size) {
  EDGETUNE_ASSIGN_OR_RETURN(Digest digest, DigestFromBytes(sha256));
  if (Holds(blobs, digest, size)) return MakeStatus(size, true);
  EDGETUNE_ASSIGN_OR_RETURN(uint64_t there, SizeOfPartial(blobs, name));
  return MakeStatus(there, false);
}

}  // namespace edgetune
