#include "client/transfer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/secagg/member.h"

namespace edgetune {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(200);
constexpr absl::Duration kLongestPause = absl::Seconds(30);
// A coordinator that just came back may not know the session yet; one that
// says so three times means it.
constexpr int kPatience = 3;

// Decides, attempt by attempt, whether to go on.
class Patience {
 public:
  explicit Patience(const Transfer::Pause& pause) : pause_(pause) {}

  // OK: try again now. `progress`: the attempt moved bytes.
  absl::Status AfterFailure(const absl::Status& status, bool progress) {
    if (progress) {
      wait_ = kFirstPause;
      refusals_ = 0;
    }
    switch (status.code()) {
      case absl::StatusCode::kUnavailable:
      case absl::StatusCode::kDeadlineExceeded:
      case absl::StatusCode::kAborted:
        break;
      case absl::StatusCode::kNotFound:
      case absl::StatusCode::kFailedPrecondition:
        if (++refusals_ >= kPatience) return status;
        break;
      default:
        return status;
    }
    if (!pause_(wait_)) return absl::CancelledError("the work was stopped");
    wait_ = std::min(wait_ * 1.6, kLongestPause);
    return absl::OkStatus();
  }

 private:
  const Transfer::Pause& pause_;
  absl::Duration wait_ = kFirstPause;
  int refusals_ = 0;
};

absl::StatusOr<uint64_t> SizeSoFar(const BlobStore& store,
                                   const std::string& name) {
  auto size = store.PartialSize(name);
  if (absl::IsNotFound(size.status())) return 0;
  return size;
}

}  // namespace

absl::StatusOr<uint64_t> Transfer::Fetch(const Digest& digest, uint64_t size) {
  if (store_->Has(digest)) return 0;
  const std::string name = "fetch-" + ToHex(std::span(digest));
  uint64_t moved = 0;
  absl::Status status = FetchOnce(name, digest, size, &moved);
  if (absl::IsDataLoss(status)) {
    // What was kept from an earlier attempt may be at fault: once from the
    // start.
    LogWarning(
        fmt::format("{}; fetching it again", std::string(status.message())));
    EDGETUNE_RETURN_IF_ERROR(store_->DropPartial(name));
    status = FetchOnce(name, digest, size, &moved);
  }
  if (absl::IsDataLoss(status)) {
    (void)store_->DropPartial(name);
    return Annotate(secagg::WithAbortCode(v1::MODEL_MISMATCH, status),
                    ErrorKind::kDigestMismatch,
                    "the coordinator serves other bytes than the run was "
                    "signed for");
  }
  EDGETUNE_RETURN_IF_ERROR(status);
  return moved;
}

absl::Status Transfer::FetchOnce(const std::string& name, const Digest& digest,
                                 uint64_t size, uint64_t* moved) {
  EDGETUNE_RETURN_IF_ERROR(FetchParts(name, digest, size, moved));
  return store_->FinishPartial(name, digest, size);
}

absl::Status Transfer::FetchParts(const std::string& name, const Digest& digest,
                                  uint64_t size, uint64_t* moved) {
  Patience patience(pause_);
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t offset, SizeSoFar(*store_, name));
    if (offset == size) return absl::OkStatus();
    const uint64_t before = offset;
    absl::Status written = absl::OkStatus();
    auto sink = [&](std::span<const uint8_t> data, uint64_t total) {
      if (total != size) {
        return written = absl::DataLossError(
                   fmt::format("blob {} has {} bytes at the coordinator, {} "
                               "were announced",
                               ToHex(std::span(digest)), total, size));
      }
      written = store_->AppendPartial(name, offset, data, size);
      if (!written.ok()) return written;
      offset += data.size();
      *moved += data.size();
      // Told to stop: between chunks is early enough.
      if (!pause_(absl::ZeroDuration())) {
        return written = absl::CancelledError("the work was stopped");
      }
      return absl::OkStatus();
    };
    const absl::Status status = transport_->Download(digest, offset, sink);
    EDGETUNE_RETURN_IF_ERROR(written);
    if (offset == size) return absl::OkStatus();
    const absl::Status broken =
        status.ok() ? absl::UnavailableError("the download ended early")
                    : status;
    LogDebug(fmt::format("download stands at {} of {} bytes: {}", offset, size,
                         std::string(broken.message())));
    EDGETUNE_RETURN_IF_ERROR(patience.AfterFailure(broken, offset > before));
  }
}

absl::StatusOr<v1::UploadStatus> Transfer::SendOnce(
    const v1::UploadKey& key, std::span<const uint8_t> bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(v1::UploadStatus there,
                            transport_->QueryUpload(key));
  if (there.complete()) return there;
  if (there.committed() > bytes.size()) {
    return absl::DataLossError(
        fmt::format("the coordinator holds {} bytes of an update of {}",
                    there.committed(), bytes.size()));
  }
  return transport_->Upload(key, there.committed(), bytes);
}

absl::Status Transfer::Send(const v1::UploadKey& key,
                            std::span<const uint8_t> bytes) {
  Patience patience(pause_);
  uint64_t committed = 0;
  while (true) {
    auto there = SendOnce(key, bytes);
    if (there.ok() && there->complete()) return absl::OkStatus();
    const bool progress = there.ok() && there->committed() > committed;
    if (progress) committed = there->committed();
    const absl::Status broken =
        there.ok() ? absl::UnavailableError("the upload ended early")
                   : there.status();
    LogDebug(fmt::format("upload: {}", std::string(broken.message())));
    EDGETUNE_RETURN_IF_ERROR(patience.AfterFailure(broken, progress));
  }
}

}  // namespace edgetune
