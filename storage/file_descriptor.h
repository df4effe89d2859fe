#ifndef EDGETUNE_STORAGE_FILE_DESCRIPTOR_H_
#define EDGETUNE_STORAGE_FILE_DESCRIPTOR_H_

// An owned descriptor and what the sources of this room do with one.

#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"

namespace edgetune {

// Owns a descriptor; closing it also releases its flock. Move-only.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }

 private:
  int fd_;
};

// Opens `path` and takes its exclusive lock; the path still names the file
// that was locked. `flags` as open(2); waits if `wait`, else
// FailedPrecondition when another holds the lock.
absl::StatusOr<FileDescriptor> OpenLocked(const std::string& path, int flags,
                                          uint32_t mode, bool wait);

absl::StatusOr<uint64_t> SizeOf(const FileDescriptor& file,
                                const std::string& path);
absl::Status WriteAt(const FileDescriptor& file, uint64_t offset,
                     std::span<const uint8_t> bytes, const std::string& path);
absl::Status Fsync(const FileDescriptor& file, const std::string& path);

// SHA-256 from the start; when `copy` is not null every byte read is also
// written there.
absl::StatusOr<Digest> HashAndCopy(const FileDescriptor& file,
                                   const std::string& path,
                                   const FileDescriptor* copy,
                                   const std::string& copy_path);

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_FILE_DESCRIPTOR_H_
