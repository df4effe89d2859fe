#include "server/rpc/reactors.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr uint64_t kChunkBytes = 256 << 10;

}  // namespace

BlobStream::BlobStream(std::unique_ptr<BlobBytes> file, uint64_t offset,
                       std::function<void(uint64_t)> count)
    : file_(std::move(file)), count_(std::move(count)), offset_(offset) {
  chunk_.set_total_size(file_->bytes().size());
  WriteNext();
}

void BlobStream::WriteNext() {
  auto rest = file_->bytes().subspan(offset_);
  size_t size = std::min<uint64_t>(rest.size(), kChunkBytes);
  std::string_view data(reinterpret_cast<const char*>(rest.data()), size);
  chunk_.set_data(data.data(), data.size());
  chunk_.set_crc32c(Crc32c(data));
  StartWrite(&chunk_);
}

void BlobStream::OnWriteDone(bool ok) {
  if (!ok) return End(absl::CancelledError("the reader went away"));
  offset_ += chunk_.data().size();
  written_ += chunk_.data().size();
  chunk_.set_total_size(0);
  if (offset_ == file_->bytes().size()) return End(absl::OkStatus());
  WriteNext();
}

void BlobStream::End(const absl::Status& status) {
  // Before the end is told: whoever has the blob may act on it at once, and
  // the count must not come after that.
  if (written_ > 0) count_(written_);
  Finish(ToGrpcStatus(status));
}

absl::StatusOr<BlobStream*> OpenBlobStream(
    const BlobStore& blobs, const Digest& digest, uint64_t offset,
    std::function<void(uint64_t)> count) {
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<BlobBytes> file, blobs.Get(digest));
  uint64_t size = file->bytes().size();
  if (offset > size) {
    return absl::InvalidArgumentError(fmt::format(
        "download from byte {} of a blob of {} bytes", offset, size));
  }
  return new BlobStream(std::move(file), offset, std::move(count));
}

}  // namespace edgetune
