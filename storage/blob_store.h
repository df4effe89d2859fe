#ifndef EDGETUNE_STORAGE_BLOB_STORE_H_
#define EDGETUNE_STORAGE_BLOB_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"

namespace edgetune {

// The bytes of a blob, for as long as this lives. Immutable, thread-safe.
class BlobBytes {
 public:
  virtual ~BlobBytes() = default;
  virtual std::span<const uint8_t> bytes() const = 0;
};

// Content-addressed immutable blobs, by SHA-256, and partial arrivals by name.
// A blob appears whole and verified or not at all. Thread-safe. Errors:
// ResourceExhausted (disk full), NotFound, DataLoss (bytes do not have the
// digest), FailedPrecondition (wrong offset, not complete), OutOfRange (more
// bytes than announced).
//
// Open: as files, blobs/<hex> and partial/<name>, that are durable when a call
// returns; several processes may share a directory (a cache of base models).
// In memory: storage/memory_blobs.h.
class BlobStore {
 public:
  // Makes the directory; removes temporary files of a crash (not partials).
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(
      const std::string& directory);
  virtual ~BlobStore() = default;

  bool Has(const Digest& digest) const { return Size(digest).ok(); }
  virtual absl::StatusOr<uint64_t> Size(const Digest& digest) const = 0;
  // Trusted as verified when they were put.
  virtual absl::StatusOr<std::unique_ptr<BlobBytes>> Get(
      const Digest& digest) const = 0;
  // Where a blob lies, or would. FailedPrecondition: this store has no files.
  virtual absl::StatusOr<std::string> PathOf(const Digest& digest) const = 0;

  virtual absl::StatusOr<Digest> Put(std::span<const uint8_t> bytes) = 0;
  // Copies `path` in, hashing what it copies; a hard link would let a later
  // edit of the file change the blob.
  virtual absl::StatusOr<Digest> PutFile(const std::string& path) = 0;
  virtual absl::Status Remove(const Digest& digest) = 0;
  virtual absl::StatusOr<std::vector<Digest>> List() const = 0;

  // A resumable arrival. `name` is [A-Za-z0-9._-]+ chosen by the caller and
  // identifies the upload; `size` and `digest` are what was announced.
  // Synced when it crosses a multiple of 4 MiB and at its end. PartialSize is
  // the length of the file (0: none). While the machine stays up that is every
  // byte appended, even when the process is killed; after a power failure it
  // is what the file system kept, at least the last multiple of 4 MiB, and
  // bytes beyond that multiple may be wrong: the SHA-256 in FinishPartial
  // finds out.
  virtual absl::StatusOr<uint64_t> PartialSize(
      const std::string& name) const = 0;
  // Writes at `offset`, which must equal the size so far. A failed write is
  // cut off again, to the offset or to the last sync.
  virtual absl::Status AppendPartial(const std::string& name, uint64_t offset,
                                     std::span<const uint8_t> bytes,
                                     uint64_t announced_size) = 0;
  // Verifies size and digest, publishes the blob. On DataLoss the partial is
  // deleted: the sender starts again. OK also without a partial when the blob
  // is there: the answer to the first call may have been lost.
  virtual absl::Status FinishPartial(const std::string& name,
                                     const Digest& digest,
                                     uint64_t announced_size) = 0;
  // OK when there is none.
  virtual absl::Status DropPartial(const std::string& name) = 0;
  // The names of all, in order.
  virtual absl::StatusOr<std::vector<std::string>> ListPartials() const = 0;
};

// SHA-256 of a file, read once in pieces.
absl::StatusOr<Digest> HashFile(const std::string& path);
// 32 bytes, else InvalidArgument.
absl::StatusOr<Digest> DigestFromBytes(std::string_view bytes);
std::string DigestBytes(const Digest& digest);

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_BLOB_STORE_H_
