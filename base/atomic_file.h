#ifndef EDGETUNE_BASE_ATOMIC_FILE_H_
#define EDGETUNE_BASE_ATOMIC_FILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace edgetune {

// Writes a file that appears whole or not at all: temporary file beside it,
// fsync, rename, fsync of the directory. Life: Create, Append..., Commit; a
// writer destroyed before Commit leaves nothing. One thread at a time. Errors:
// ResourceExhausted (disk full), NotFound (directory), FailedPrecondition.
class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(
      const std::string& path, uint32_t mode = 0644);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Append(std::span<const uint8_t> bytes);
  absl::Status Append(std::string_view text);
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

  const std::string path_;
  const std::string temporary_;
  int fd_;
};

absl::Status WriteFileAtomically(const std::string& path, std::string_view text,
                                 uint32_t mode = 0644);
// Whole file as bytes; refuses one above `limit` (InvalidArgument).
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t limit = 64 << 20);
absl::Status FsyncDirectory(const std::string& directory);
// mkdir -p; mode applies to the directories made.
absl::Status MakeDirectories(const std::string& path, uint32_t mode = 0755);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_ATOMIC_FILE_H_
