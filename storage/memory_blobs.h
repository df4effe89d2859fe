#ifndef EDGETUNE_STORAGE_MEMORY_BLOBS_H_
#define EDGETUNE_STORAGE_MEMORY_BLOBS_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "storage/blob_store.h"

namespace edgetune {

class MemoryBlobs;

// Bytes that stores of one MemoryBlobs share: in memory, in a file that is
// mapped, or spilled, which is a file without a name. Read through a
// MemoryBlobs alone.
class MemoryBlob {
 public:
  MemoryBlob(MemoryBlobs* memory, std::span<const uint8_t> bytes);
  MemoryBlob(MemoryBlobs* memory, std::unique_ptr<MappedFile> file);
  ~MemoryBlob();
  MemoryBlob(const MemoryBlob&) = delete;
  MemoryBlob& operator=(const MemoryBlob&) = delete;

  uint64_t size() const { return size_; }

 private:
  friend class MemoryBlobs;
  enum class Place { kSmall, kHeld, kSpilled, kFile };

  MemoryBlobs* const memory_;
  const uint64_t size_;
  const std::unique_ptr<MappedFile> file_;
  std::vector<uint8_t> small_;
  // All guarded by the memory's mutex.
  Place place_;
  uint8_t* pages_ = nullptr;  // of kHeld and kSpilled
  size_t readers_ = 0;
  uint64_t last_read_ = 0;                 // by the count of SpillIdle
  std::list<MemoryBlob*>::iterator turn_;  // of kHeld
};

// The memory behind the stores of one process: bytes with one digest are held
// once, however many stores have them, and go with the last of these stores'
// copies. Thread-safe; outlives its stores.
//
// A large content that nobody reads may lie in a file instead (SpillTo), which
// has no name and goes with the content or the process; reading it maps it, and
// no reader sees a difference.
class MemoryBlobs {
 public:
  using Content = std::shared_ptr<MemoryBlob>;

  // The content with this digest: what is held already, or `made`.
  Content Share(const Digest& digest, Content made);
  // Null: nobody holds it.
  Content Find(const Digest& digest) const;
  // Of all contents, in bytes; and of those that are neither spilled nor a
  // file's.
  uint64_t size() const;
  uint64_t held() const;

  // From now on at most about so many bytes are held: beyond it the contents
  // spill that were not read for the longest time. Those that are being read
  // stay.
  void SpillTo(std::string directory, uint64_t most_held);
  // Spills what nobody has read since the call before.
  void SpillIdle();
  // Why spilling failed, once it has: from then on nothing more is spilled.
  absl::Status status() const;
  // Of contents that are gone, kept for the next of their size; in bytes. Held
  // and spare together are never more than the most that was held at once, nor
  // beyond what SpillTo allows.
  uint64_t spare() const;

  MemoryBlobs() = default;
  ~MemoryBlobs();
  MemoryBlobs(const MemoryBlobs&) = delete;
  MemoryBlobs& operator=(const MemoryBlobs&) = delete;

 private:
  friend class MemoryBlob;
  friend class SharedBytes;
  // The bytes, which stay where they are until as many calls of EndRead.
  std::span<const uint8_t> BeginRead(MemoryBlob& blob);
  void EndRead(MemoryBlob& blob);
  void Add(MemoryBlob& blob);
  void Forget(MemoryBlob& blob);
  // Pages for so many bytes, the caller's until Add. Null: there are none.
  uint8_t* TakePages(uint64_t size);
  // With mu_ held.
  void SpillBeyond(uint64_t most_held);
  void TrimSpare();
  absl::Status Spill(MemoryBlob& blob);

  mutable std::mutex names_mu_;  // before mu_
  mutable std::map<Digest, std::weak_ptr<MemoryBlob>> contents_;

  mutable std::mutex mu_;
  std::list<MemoryBlob*> turns_;  // held ones, the longest unread first
  uint64_t held_ = 0;
  uint64_t most_held_ = UINT64_MAX;
  uint64_t peak_held_ = 0;
  std::multimap<uint64_t, uint8_t*> spare_;  // by size
  uint64_t spare_bytes_ = 0;
  uint64_t idle_count_ = 0;  // calls of SpillIdle
  std::string directory_;    // empty: nothing is spilled
  absl::Status status_;
};

// A BlobStore that a process keeps in memory and loses with itself: one party's
// view of MemoryBlobs. PutFile maps the file, which must not change as long as
// it is held; a partial arrival is the sender's bytes once more until it is
// finished. Thread-safe. PathOf: FailedPrecondition.
class MemoryBlobStore final : public BlobStore {
 public:
  explicit MemoryBlobStore(MemoryBlobs* memory) : memory_(memory) {}

  // Has the blob from now on, if another store of this memory has it: what a
  // transfer between two parties comes to. Whether that is so.
  bool Adopt(const Digest& digest);

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
  Digest Keep(const Digest& digest, MemoryBlobs::Content content);
  absl::StatusOr<std::vector<uint8_t>> TakePartial(const std::string& name,
                                                   uint64_t announced_size);

  MemoryBlobs* const memory_;
  mutable std::mutex mu_;
  std::map<Digest, MemoryBlobs::Content> blobs_;       // guarded by mu_
  std::map<std::string, std::vector<uint8_t>> parts_;  // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_MEMORY_BLOBS_H_
