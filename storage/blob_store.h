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
#include "base/mapped_file.h"
#include "privacy/crypto/hash.h"

namespace edgetune {

// Content-addressed immutable files: blobs/<hex of SHA-256>, and partial
// uploads under partial/<name>. A blob appears whole, verified and durable or
// not at all. Thread-safe, and several processes may share a directory (a
// cache of base models). Errors: ResourceExhausted (disk full), NotFound,
// DataLoss (bytes do not have the digest), FailedPrecondition (wrong offset,
// not complete), OutOfRange (more bytes than announced).
class BlobStore {
 public:
  // Makes the directory; removes temporary files of a crash (not partials).
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(
      const std::string& directory);

  bool Has(const Digest& digest) const;
  absl::StatusOr<uint64_t> Size(const Digest& digest) const;
  // The blob mapped; its bytes are trusted as verified when it was put.
  absl::StatusOr<std::unique_ptr<MappedFile>> Get(const Digest& digest) const;
  std::string PathOf(const Digest& digest) const;

  absl::StatusOr<Digest> Put(std::span<const uint8_t> bytes);
  // Copies `path` in, hashing what it copies; a hard link would let a later
  // edit of the file change the blob.
  absl::StatusOr<Digest> PutFile(const std::string& path);
  absl::Status Remove(const Digest& digest);
  absl::StatusOr<std::vector<Digest>> List() const;

  // A resumable arrival. `name` is [A-Za-z0-9._-]+ chosen by the caller and
  // identifies the upload; `size` and `digest` are what was announced.
  // Synced when it crosses a multiple of 4 MiB and at its end. PartialSize is
  // the length of the file (0: none). While the machine stays up that is every
  // byte appended, even when the process is killed; after a power failure it
  // is what the file system kept, at least the last multiple of 4 MiB, and
  // bytes beyond that multiple may be wrong: the SHA-256 in FinishPartial
  // finds out.
  absl::StatusOr<uint64_t> PartialSize(const std::string& name) const;
  // Writes at `offset`, which must equal the size so far. A failed write is
  // cut off again, to the offset or to the last sync.
  absl::Status AppendPartial(const std::string& name, uint64_t offset,
                             std::span<const uint8_t> bytes,
                             uint64_t announced_size);
  // Verifies size and digest, publishes the blob. On DataLoss the partial is
  // deleted: the sender starts again. OK also without a partial when the blob
  // is there: the answer to the first call may have been lost.
  absl::Status FinishPartial(const std::string& name, const Digest& digest,
                             uint64_t announced_size);
  // OK when there is none.
  absl::Status DropPartial(const std::string& name);
  // The names of all, in order.
  absl::StatusOr<std::vector<std::string>> ListPartials() const;

 private:
  explicit BlobStore(std::string directory)
      : directory_(std::move(directory)) {}

  const std::string directory_;
};

// SHA-256 of a file, read once in pieces.
absl::StatusOr<Digest> HashFile(const std::string& path);
// 32 bytes, else InvalidArgument.
absl::StatusOr<Digest> DigestFromBytes(std::string_view bytes);
std::string DigestBytes(const Digest& digest);

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_BLOB_STORE_H_
