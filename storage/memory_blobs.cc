#include "storage/memory_blobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mapped_file.h"
#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

class HeldBytes final : public BlobBytes {
 public:
  explicit HeldBytes(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::span<const uint8_t> bytes() const override { return bytes_; }

 private:
  const std::vector<uint8_t> bytes_;
};

class MappedBytes final : public BlobBytes {
 public:
  explicit MappedBytes(std::unique_ptr<MappedFile> file)
      : file_(std::move(file)) {}
  std::span<const uint8_t> bytes() const override { return file_->bytes(); }

 private:
  const std::unique_ptr<MappedFile> file_;
};

// What Get gives away: a share of a content.
class SharedBytes final : public BlobBytes {
 public:
  explicit SharedBytes(MemoryBlobs::Content content)
      : content_(std::move(content)) {}
  std::span<const uint8_t> bytes() const override { return content_->bytes(); }

 private:
  const MemoryBlobs::Content content_;
};

absl::Status Missing(const Digest& digest) {
  return absl::NotFoundError(
      fmt::format("there is no blob {} in this memory", ToHex(digest)));
}

}  // namespace

MemoryBlobs::Content MemoryBlobs::Share(const Digest& digest, Content made) {
  std::lock_guard<std::mutex> lock(mu_);
  std::weak_ptr<const BlobBytes>& held = contents_[digest];
  if (Content content = held.lock()) return content;
  held = made;
  places_[made->bytes().data()] = made;
  return made;
}

MemoryBlobs::Content MemoryBlobs::Find(const Digest& digest) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = contents_.find(digest);
  if (it == contents_.end()) return nullptr;
  Content content = it->second.lock();
  if (content == nullptr) contents_.erase(it);
  return content;
}

MemoryBlobs::Content MemoryBlobs::FindAt(std::span<const uint8_t> bytes) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = places_.find(bytes.data());
  if (it == places_.end()) return nullptr;
  Content content = it->second.lock();
  const bool whole =
      content != nullptr && content->bytes().size() == bytes.size();
  return whole ? content : nullptr;
}

uint64_t MemoryBlobs::size() const {
  std::lock_guard<std::mutex> lock(mu_);
  uint64_t size = 0;
  for (auto it = contents_.begin(); it != contents_.end();) {
    const Content content = it->second.lock();
    if (content == nullptr) {
      it = contents_.erase(it);
      continue;
    }
    size += content->bytes().size();
    ++it;
  }
  return size;
}

Digest MemoryBlobStore::Keep(const Digest& digest,
                             MemoryBlobs::Content content) {
  content = memory_->Share(digest, std::move(content));
  std::lock_guard<std::mutex> lock(mu_);
  blobs_[digest] = std::move(content);
  return digest;
}

absl::StatusOr<uint64_t> MemoryBlobStore::Size(const Digest& digest) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return Missing(digest);
  return it->second->bytes().size();
}

absl::StatusOr<std::unique_ptr<BlobBytes>> MemoryBlobStore::Get(
    const Digest& digest) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return Missing(digest);
  return std::make_unique<SharedBytes>(it->second);
}

absl::StatusOr<std::string> MemoryBlobStore::PathOf(
    const Digest& digest) const {
  return absl::FailedPreconditionError(fmt::format(
      "blob {} is in memory and has no path", ToHex(std::span(digest))));
}

absl::StatusOr<Digest> MemoryBlobStore::Put(std::span<const uint8_t> bytes) {
  const Digest digest = Sha256(bytes);
  MemoryBlobs::Content content = memory_->Find(digest);
  if (content == nullptr) {
    content = std::make_shared<HeldBytes>(
        std::vector<uint8_t>(bytes.begin(), bytes.end()));
  }
  return Keep(digest, std::move(content));
}

absl::StatusOr<Digest> MemoryBlobStore::PutFile(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  const Digest digest = Sha256(file->bytes());
  return Keep(digest, std::make_shared<MappedBytes>(std::move(file)));
}

absl::Status MemoryBlobStore::Remove(const Digest& digest) {
  MemoryBlobs::Content last;  // freed after the lock
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return Missing(digest);
  last = std::move(it->second);
  blobs_.erase(it);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Digest>> MemoryBlobStore::List() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<Digest> digests;
  for (const auto& [digest, content] : blobs_) digests.push_back(digest);
  return digests;
}

absl::StatusOr<uint64_t> MemoryBlobStore::PartialSize(
    const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = parts_.find(name);
  return it == parts_.end() ? 0 : it->second.bytes().size();
}

absl::Status MemoryBlobStore::AppendPartial(const std::string& name,
                                            uint64_t offset,
                                            std::span<const uint8_t> bytes,
                                            uint64_t announced_size) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto found = parts_.find(name);
  const uint64_t size =
      found == parts_.end() ? 0 : found->second.bytes().size();
  if (offset != size) {
    return absl::FailedPreconditionError(
        fmt::format("upload '{}' goes on at another byte: got {}, wanted {}",
                    name, offset, size));
  }
  if (offset + bytes.size() > announced_size) {
    return absl::OutOfRangeError(
        fmt::format("upload '{}' would have {} bytes, {} were announced", name,
                    offset + bytes.size(), announced_size));
  }
  Part& part = parts_[name];
  if (offset == 0 && bytes.size() == announced_size) {
    part.shared = memory_->FindAt(bytes);
    if (part.shared != nullptr) return absl::OkStatus();
  }
  part.copied.insert(part.copied.end(), bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::StatusOr<MemoryBlobStore::Part> MemoryBlobStore::TakePartial(
    const std::string& name, uint64_t announced_size) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = parts_.find(name);
  if (it == parts_.end()) {
    return absl::NotFoundError(fmt::format("there is no upload '{}'", name));
  }
  const uint64_t size = it->second.bytes().size();
  if (size < announced_size) {
    return absl::FailedPreconditionError(
        fmt::format("upload '{}' is not complete: {} of {} bytes", name, size,
                    announced_size));
  }
  Part part = std::move(it->second);
  parts_.erase(it);
  return part;
}

absl::Status MemoryBlobStore::FinishPartial(const std::string& name,
                                            const Digest& digest,
                                            uint64_t announced_size) {
  auto part = TakePartial(name, announced_size);
  if (absl::IsNotFound(part.status())) {
    const auto there = Size(digest);
    if (there.ok() && *there == announced_size) return absl::OkStatus();
  }
  EDGETUNE_RETURN_IF_ERROR(part.status());
  // Bytes that equal those of a blob with the digest have it too; comparing
  // takes a tenth of the time of hashing.
  const MemoryBlobs::Content held = memory_->Find(digest);
  if (held != nullptr && (held == part->shared ||
                          std::ranges::equal(held->bytes(), part->bytes()))) {
    Keep(digest, held);
    return absl::OkStatus();
  }
  const Digest found = Sha256(part->bytes());
  if (part->bytes().size() != announced_size || found != digest) {
    return Annotate(
        absl::DataLossError(fmt::format(
            "upload '{}' arrived damaged: got {} bytes with SHA-256 {}, "
            "wanted {} with {}",
            name, part->bytes().size(), ToHex(found), announced_size,
            ToHex(digest))),
        ErrorKind::kDigestMismatch, "send it again from the start");
  }
  // A shared content is under its own digest, which was found above.
  Keep(digest, std::make_shared<HeldBytes>(std::move(part->copied)));
  return absl::OkStatus();
}

absl::Status MemoryBlobStore::DropPartial(const std::string& name) {
  std::lock_guard<std::mutex> lock(mu_);
  parts_.erase(name);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryBlobStore::ListPartials() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<std::string> names;
  for (const auto& [name, part] : parts_) names.push_back(name);
  return names;
}

}  // namespace edgetune
