#include "base/atomic_directory.h"

#include <fmt/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "base/status.h"

namespace edgetune {
namespace {

absl::Status Occupied(const std::string& path) {
  return Annotate(
      absl::AlreadyExistsError(fmt::format("{} is there already", path)),
      ErrorKind::kFailed, "remove it or choose another name");
}

}  // namespace

absl::StatusOr<std::unique_ptr<AtomicDirectory>> AtomicDirectory::Create(
    const std::string& path) {
  std::string final_path = path;
  while (final_path.size() > 1 && final_path.back() == '/') {
    final_path.pop_back();
  }
  struct stat info;
  if (lstat(final_path.c_str(), &info) == 0) return Occupied(final_path);
  std::string temporary = final_path + ".partXXXXXX";
  if (mkdtemp(temporary.data()) == nullptr) {
    return ErrnoStatus(errno, "cannot create", final_path);
  }
  std::unique_ptr<AtomicDirectory> out(
      new AtomicDirectory(final_path, temporary));
  if (chmod(temporary.c_str(), 0755) != 0) {
    return ErrnoStatus(errno, "cannot set the mode of", final_path);
  }
  return out;
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

absl::Status AtomicDirectory::Write(std::string_view name,
                                    std::string_view text) {
  return WriteFileAtomically(PathOf(name), text);
}

std::string AtomicDirectory::PathOf(std::string_view name) const {
  return fmt::format("{}/{}", temporary_, name);
}

absl::Status AtomicDirectory::Commit() {
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) {
      return Occupied(path_);
    }
    return ErrnoStatus(errno, "cannot create", path_);
  }
  temporary_.clear();
  const std::string parent = std::filesystem::path(path_).parent_path();
  return FsyncDirectory(parent.empty() ? "." : parent);
}

}  // namespace edgetune
