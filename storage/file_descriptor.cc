#include "storage/file_descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr size_t kReadBytes = 1 << 20;

int LockFile(int fd, bool wait) {
  int result = 0;
  do {
    result = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
  } while (result != 0 && errno == EINTR);
  return result;
}

bool IsSameFile(int fd, const std::string& path) {
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

absl::StatusOr<FileDescriptor> OpenLocked(const std::string& path, int flags,
                                          uint32_t mode, bool wait) {
  while (true) {
    FileDescriptor file(open(path.c_str(), flags | O_CLOEXEC, mode));
    if (file.get() < 0) return ErrnoStatus(errno, "cannot open", path);
    if (LockFile(file.get(), wait) != 0) {
      if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "cannot lock", path);
      return absl::FailedPreconditionError(
          fmt::format("{} is in use by another process", path));
    }
    // Renamed or removed while this call waited: look again.
    if (IsSameFile(file.get(), path)) return file;
  }
}

absl::StatusOr<uint64_t> SizeOf(const FileDescriptor& file,
                                const std::string& path) {
  struct stat info;
  if (fstat(file.get(), &info) != 0) {
    return ErrnoStatus(errno, "cannot read the size of", path);
  }
  return static_cast<uint64_t>(info.st_size);
}

absl::Status WriteAt(const FileDescriptor& file, uint64_t offset,
                     std::span<const uint8_t> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(file.get(), bytes.data(), bytes.size(),
                             static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot write", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status Fsync(const FileDescriptor& file, const std::string& path) {
  if (fsync(file.get()) != 0) return ErrnoStatus(errno, "cannot sync", path);
  return absl::OkStatus();
}

absl::StatusOr<Digest> HashAndCopy(const FileDescriptor& file,
                                   const std::string& path,
                                   const FileDescriptor* copy,
                                   const std::string& copy_path) {
  std::vector<uint8_t> buffer(kReadBytes);
  Sha256Stream stream;
  for (uint64_t offset = 0;;) {
    const ssize_t n = pread(file.get(), buffer.data(), buffer.size(),
                            static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read", path);
    if (n == 0) return stream.Finish();
    const std::span<const uint8_t> bytes(buffer.data(), static_cast<size_t>(n));
    stream.Update(bytes);
    if (copy != nullptr) {
      EDGETUNE_RETURN_IF_ERROR(WriteAt(*copy, offset, bytes, copy_path));
    }
    offset += bytes.size();
  }
}

}  // namespace edgetune
