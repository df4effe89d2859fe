#ifndef EDGETUNE_STORAGE_MEMORY_BLOBS_H_
#define EDGETUNE_STORAGE_MEMORY_BLOBS_H_

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "storage/blob_store.h"

namespace edgetune {

// The memory behind the stores of one process: bytes with one digest are held
// once, however many stores have them, and go with the last of these stores'
// copies. Thread-safe; outlives its stores.
class MemoryBlobs {
 public:
  using Content = std::shared_ptr<const BlobBytes>;

  // The content with this digest: what is held already, or `made`.
  Content Share(const Digest& digest, Content made);
  // Null: nobody holds it.
  Content Find(const Digest& digest) const;
  // The content that is these very bytes, not a copy of them; null: none.
  Content FindAt(std::span<const uint8_t> bytes) const;
  // Of all contents, in bytes.
  uint64_t size() const;

 private:
  mutable std::mutex mu_;
  mutable std::map<Digest, std::weak_ptr<const BlobBytes>> contents_;
  // By where they begin. What went may stand here until its place is used
  // again.
  std::map<const uint8_t*, std::weak_ptr<const BlobBytes>> places_;
};

// A BlobStore that a process keeps in memory and loses with itself: one party's
// view of MemoryBlobs. PutFile maps the file, which must not change as long as
// it is held. A partial arrival is the sender's bytes once more until it is
// finished, unless it comes in one piece and is a content of this memory: then
// it is shared and need not be looked at again. Thread-safe. PathOf:
// FailedPrecondition.
class MemoryBlobStore final : public BlobStore {
 public:
  explicit MemoryBlobStore(MemoryBlobs* memory) : memory_(memory) {}

  absl::StatusOr<uint64_t> Size(const Digest& digest) const override;
  absl::StatusOr<std::unique_ptr<BlobBytes>> Get(
      const Digest& digest) const override;
  absl::StatusOr<std::string> PathOf(const Digest& digest) const override;
  absl::StatusOr<Digest> Put(std::span<const uint8_t> bytes) override;
  absl::StatusOr<Digest> PutFile(const std::string& path) override;
  absl::Status Remove(const Digest& digest) override;
  absl::StatusOr<std::vector<Digest>> List() const override;
  absl::StatusOr<uint64_t> PartialSize(const std::string& name) const override;
  absl::Status AppendPartial(const std::string& name, uint64_t offset,
                             std::span<const uint8_t> bytes,
                             uint64_t announced_size) override;
  absl::Status FinishPartial(const std::string& name, const Digest& digest,
                             uint64_t announced_size) override;
  absl::Status DropPartial(const std::string& name) override;
  absl::StatusOr<std::vector<std::string>> ListPartials() const override;

 private:
  // Either what came so far, or a content that came whole.
  struct Part {
    std::vector<uint8_t> copied;
    MemoryBlobs::Content shared;
    std::span<const uint8_t> bytes() const {
      return shared == nullptr ? std::span(copied) : shared->bytes();
    }
  };

  Digest Keep(const Digest& digest, MemoryBlobs::Content content);
  absl::StatusOr<Part> TakePartial(const std::string& name,
                                   uint64_t announced_size);

  MemoryBlobs* const memory_;
  mutable std::mutex mu_;
  std::map<Digest, MemoryBlobs::Content> blobs_;  // guarded by mu_
  std::map<std::string, Part> parts_;             // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_MEMORY_BLOBS_H_
