#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/status.h"

namespace edgetune {
namespace {

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(
    const std::string& path, uint32_t mode) {
  std::string temporary = path + ".partXXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot create", path);
  if (fchmod(fd, mode) != 0) {
    const int error = errno;
    close(fd);
    unlink(temporary.c_str());
    return ErrnoStatus(error, "cannot set the mode of", path);
  }
  return std::unique_ptr<AtomicFile>(
      new AtomicFile(path, std::move(temporary), fd));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

absl::Status AtomicFile::Append(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot write", path_);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Append(std::string_view text) {
  return Append(std::span(reinterpret_cast<const uint8_t*>(text.data()),
                          text.size()));
}

absl::Status AtomicFile::Commit() {
  if (fsync(fd_) != 0) return ErrnoStatus(errno, "cannot write", path_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoStatus(errno, "cannot create", path_);
  }
  close(fd_);
  fd_ = -1;
  return FsyncDirectory(ParentOf(path_));
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view text,
                                 uint32_t mode) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path, mode));
  EDGETUNE_RETURN_IF_ERROR(file->Append(text));
  return file->Commit();
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  if (file->bytes().size() > limit) {
    return absl::InvalidArgumentError(
        fmt::format("{} is too large: {} bytes, at most {} are read", path,
                    file->bytes().size(), limit));
  }
  return std::string(reinterpret_cast<const char*>(file->bytes().data()),
                     file->bytes().size());
}

absl::Status FsyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", directory);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0) return ErrnoStatus(error, "cannot sync", directory);
  return absl::OkStatus();
}

absl::Status MakeDirectories(const std::string& path, uint32_t mode) {
  std::filesystem::path done;
  for (const auto& part : std::filesystem::path(path)) {
    done /= part;
    if (mkdir(done.c_str(), mode) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, "cannot create", done.string());
    }
  }
  if (!std::filesystem::is_directory(path)) {
    return absl::FailedPreconditionError(
        fmt::format("cannot create {}: a file of that name is there", path));
  }
  return absl::OkStatus();
}

}  // namespace edgetune
