#include "storage/memory_blobs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "storage/file_descriptor.h"

namespace edgetune {
namespace {

absl::Status Missing(const Digest& digest) {
  return absl::NotFoundError(
      fmt::format("there is no blob {} in this memory", ToHex(digest)));
}

// A file without a name with these bytes.
absl::StatusOr<FileDescriptor> WriteNameless(const std::string& directory,
                                             std::span<const uint8_t> bytes) {
  std::string path = directory + "/spilled.XXXXXX";
  FileDescriptor file(mkostemp(path.data(), O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, "cannot create", path);
  unlink(path.c_str());
  EDGETUNE_RETURN_IF_ERROR(WriteAt(file, 0, bytes, path));
  return file;
}

}  // namespace

// What Get gives away: a share of a content.
class SharedBytes final : public BlobBytes {
 public:
  explicit SharedBytes(MemoryBlobs* memory, MemoryBlobs::Content content)
      : memory_(memory),
        content_(std::move(content)),
        bytes_(memory_->BeginRead(*content_)) {}
  ~SharedBytes() override { memory_->EndRead(*content_); }
  std::span<const uint8_t> bytes() const override { return bytes_; }

 private:
  MemoryBlobs* const memory_;
  const MemoryBlobs::Content content_;
  const std::span<const uint8_t> bytes_;
};

MemoryBlob::MemoryBlob(MemoryBlobs* memory, std::span<const uint8_t> bytes)
    : memory_(memory), size_(bytes.size()), place_(Place::kSmall) {
  if (size_ > 0) pages_ = memory_->TakePages(size_);
  if (pages_ == nullptr) {
    small_.assign(bytes.begin(), bytes.end());
    return;
  }
  std::memcpy(pages_, bytes.data(), size_);
  place_ = Place::kHeld;
  memory_->Add(*this);
}

MemoryBlob::MemoryBlob(MemoryBlobs* memory, std::unique_ptr<MappedFile> file)
    : memory_(memory),
      size_(file->bytes().size()),
      file_(std::move(file)),
      place_(Place::kFile) {}

MemoryBlob::~MemoryBlob() { memory_->Forget(*this); }

MemoryBlobs::~MemoryBlobs() {
  for (const auto& [size, pages] : spare_) munmap(pages, size);
}

MemoryBlobs::Content MemoryBlobs::Share(const Digest& digest, Content made) {
  std::lock_guard<std::mutex> lock(names_mu_);
  std::weak_ptr<MemoryBlob>& held = contents_[digest];
  if (Content content = held.lock()) return content;
  held = made;
  return made;
}

MemoryBlobs::Content MemoryBlobs::Find(const Digest& digest) const {
  std::lock_guard<std::mutex> lock(names_mu_);
  const auto it = contents_.find(digest);
  if (it == contents_.end()) return nullptr;
  Content content = it->second.lock();
  if (content == nullptr) contents_.erase(it);
  return content;
}

uint64_t MemoryBlobs::size() const {
  std::lock_guard<std::mutex> lock(names_mu_);
  uint64_t size = 0;
  for (auto it = contents_.begin(); it != contents_.end();) {
    const Content content = it->second.lock();
    if (content == nullptr) {
      it = contents_.erase(it);
      continue;
    }
    size += content->size();
    ++it;
  }
  return size;
}

uint64_t MemoryBlobs::held() const {
  std::lock_guard<std::mutex> lock(mu_);
  return held_;
}

absl::Status MemoryBlobs::status() const {
  std::lock_guard<std::mutex> lock(mu_);
  return status_;
}

std::span<const uint8_t> MemoryBlobs::BeginRead(MemoryBlob& blob) {
  std::lock_guard<std::mutex> lock(mu_);
  ++blob.readers_;
  blob.last_read_ = idle_count_;
  switch (blob.place_) {
    case MemoryBlob::Place::kSmall:
      return blob.small_;
    case MemoryBlob::Place::kFile:
      return blob.file_->bytes();
    case MemoryBlob::Place::kHeld:
      turns_.splice(turns_.end(), turns_, blob.turn_);
      break;
    case MemoryBlob::Place::kSpilled:
      break;
  }
  return {blob.pages_, blob.size_};
}

void MemoryBlobs::EndRead(MemoryBlob& blob) {
  std::lock_guard<std::mutex> lock(mu_);
  if (--blob.readers_ > 0) return;
  // Its pages are the file's: they leave this process.
  if (blob.place_ == MemoryBlob::Place::kSpilled) {
    madvise(blob.pages_, blob.size_, MADV_DONTNEED);
  }
}

void MemoryBlobs::Add(MemoryBlob& blob) {
  std::lock_guard<std::mutex> lock(mu_);
  blob.turn_ = turns_.insert(turns_.end(), &blob);
  blob.last_read_ = idle_count_;
  held_ += blob.size_;
  peak_held_ = std::max(peak_held_, held_);
  // The newest is about to be read.
  ++blob.readers_;
  SpillBeyond(most_held_);
  --blob.readers_;
  TrimSpare();
}

void MemoryBlobs::Forget(MemoryBlob& blob) {
  std::lock_guard<std::mutex> lock(mu_);
  if (blob.place_ == MemoryBlob::Place::kSpilled) {
    munmap(blob.pages_, blob.size_);
  }
  if (blob.place_ != MemoryBlob::Place::kHeld) return;
  turns_.erase(blob.turn_);
  held_ -= blob.size_;
  spare_.emplace(blob.size_, blob.pages_);
  spare_bytes_ += blob.size_;
  TrimSpare();
}

// Pages of their own can go back to the system, whatever the heap keeps. But
// to get them from there, cleared, takes longer than the copy into them.
uint8_t* MemoryBlobs::TakePages(uint64_t size) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    const auto it = spare_.find(size);
    if (it != spare_.end()) {
      spare_bytes_ -= size;
      return spare_.extract(it).mapped();
    }
  }
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  return pages == MAP_FAILED ? nullptr : static_cast<uint8_t*>(pages);
}

void MemoryBlobs::TrimSpare() {
  const uint64_t most = std::min(peak_held_, most_held_);
  while (!spare_.empty() && held_ + spare_bytes_ > most) {
    const auto it = spare_.begin();
    munmap(it->second, it->first);
    spare_bytes_ -= it->first;
    spare_.erase(it);
  }
}

uint64_t MemoryBlobs::spare() const {
  std::lock_guard<std::mutex> lock(mu_);
  return spare_bytes_;
}

void MemoryBlobs::SpillTo(std::string directory, uint64_t most_held) {
  std::lock_guard<std::mutex> lock(mu_);
  directory_ = std::move(directory);
  most_held_ = most_held;
  SpillBeyond(most_held_);
  TrimSpare();
}

void MemoryBlobs::SpillIdle() {
  std::lock_guard<std::mutex> lock(mu_);
  // In the order in which they were read last.
  for (auto it = turns_.begin(); it != turns_.end() && status_.ok();) {
    MemoryBlob& blob = **it++;
    if (blob.last_read_ == idle_count_) break;
    if (blob.readers_ == 0) status_ = Spill(blob);
  }
  ++idle_count_;
}

void MemoryBlobs::SpillBeyond(uint64_t most_held) {
  for (auto it = turns_.begin();
       it != turns_.end() && held_ > most_held && status_.ok();) {
    MemoryBlob& blob = **it++;
    if (blob.readers_ == 0) status_ = Spill(blob);
  }
}

absl::Status MemoryBlobs::Spill(MemoryBlob& blob) {
  if (directory_.empty()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(
      const FileDescriptor file,
      WriteNameless(directory_, {blob.pages_, blob.size_}));
  void* pages = mmap(nullptr, blob.size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (pages == MAP_FAILED) {
    return ErrnoStatus(errno, "cannot map what is spilled to", directory_);
  }
  munmap(blob.pages_, blob.size_);
  blob.pages_ = static_cast<uint8_t*>(pages);
  blob.place_ = MemoryBlob::Place::kSpilled;
  turns_.erase(blob.turn_);
  held_ -= blob.size_;
  return absl::OkStatus();
}

Digest MemoryBlobStore::Keep(const Digest& digest,
                             MemoryBlobs::Content content) {
  content = memory_->Share(digest, std::move(content));
  std::lock_guard<std::mutex> lock(mu_);
  blobs_[digest] = std::move(content);
  return digest;
}

bool MemoryBlobStore::Adopt(const Digest& digest) {
  MemoryBlobs::Content content = memory_->Find(digest);
  if (content == nullptr) return false;
  Keep(digest, std::move(content));
  return true;
}

absl::StatusOr<uint64_t> MemoryBlobStore::Size(const Digest& digest) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return Missing(digest);
  return it->second->size();
}

absl::StatusOr<std::unique_ptr<BlobBytes>> MemoryBlobStore::Get(
    const Digest& digest) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return Missing(digest);
  return std::make_unique<SharedBytes>(memory_, it->second);
}

absl::StatusOr<std::string> MemoryBlobStore::PathOf(
    const Digest& digest) const {
  return absl::FailedPreconditionError(fmt::format(
      "blob {} is in memory and has no path", ToHex(std::span(digest))));
}

absl::StatusOr<Digest> MemoryBlobStore::Put(std::span<const uint8_t> bytes) {
  const Digest digest = Sha256(bytes);
  if (Adopt(digest)) return digest;
  return Keep(digest, std::make_shared<MemoryBlob>(memory_, bytes));
}

absl::StatusOr<Digest> MemoryBlobStore::PutFile(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  const Digest digest = Sha256(file->bytes());
  return Keep(digest, std::make_shared<MemoryBlob>(memory_, std::move(file)));
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
  return it == parts_.end() ? 0 : it->second.size();
}

absl::Status MemoryBlobStore::AppendPartial(const std::string& name,
                                            uint64_t offset,
                                            std::span<const uint8_t> bytes,
                                            uint64_t announced_size) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto found = parts_.find(name);
  const uint64_t size = found == parts_.end() ? 0 : found->second.size();
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
  std::vector<uint8_t>& part = parts_[name];
  part.insert(part.end(), bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint8_t>> MemoryBlobStore::TakePartial(
    const std::string& name, uint64_t announced_size) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = parts_.find(name);
  if (it == parts_.end()) {
    return absl::NotFoundError(fmt::format("there is no upload '{}'", name));
  }
  if (it->second.size() < announced_size) {
    return absl::FailedPreconditionError(
        fmt::format("upload '{}' is not complete: {} of {} bytes", name,
                    it->second.size(), announced_size));
  }
  std::vector<uint8_t> part = std::move(it->second);
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
  if (held != nullptr &&
      std::ranges::equal(SharedBytes(memory_, held).bytes(), *part)) {
    Keep(digest, held);
    return absl::OkStatus();
  }
  const Digest found = Sha256(*part);
  if (part->size() != announced_size || found != digest) {
    return Annotate(
        absl::DataLossError(fmt::format(
            "upload '{}' arrived damaged: got {} bytes with SHA-256 {}, "
            "wanted {} with {}",
            name, part->size(), ToHex(found), announced_size, ToHex(digest))),
        ErrorKind::kDigestMismatch, "send it again from the start");
  }
  Keep(digest, std::make_shared<MemoryBlob>(memory_, *part));
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
