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

std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AtomicDirectory>> AtomicDirectory::Create(
    const std::string& path) {
  const std::string final_path = WithoutSlashes(path);
  struct stat info;
  if (lstat(final_path.c_str(), &info) == 0) return Occupied(final_path);
  EDGETUNE_ASSIGN_OR_RETURN(auto out, CreateReplacing(final_path));
  out->replaces_ = false;
  return out;
}

absl::StatusOr<std::unique_ptr<AtomicDirectory>>
AtomicDirectory::CreateReplacing(const std::string& path) {
  const std::string final_path = WithoutSlashes(path);
  std::string temporary = final_path + ".partXXXXXX";
  if (mkdtemp(temporary.data()) == nullptr) {
    return ErrnoStatus(errno, "cannot create", final_path);
  }
  std::unique_ptr<AtomicDirectory> out(
      new AtomicDirectory(final_path, temporary));
  out->replaces_ = true;
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

absl::Status AtomicDirectory::Replace() {
  const std::string aside = temporary_ + ".old";
  if (rename(path_.c_str(), aside.c_str()) != 0) {
    return ErrnoStatus(errno, "cannot replace", path_);
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    rename(aside.c_str(), path_.c_str());  // as it was
    return ErrnoStatus(error, "cannot replace", path_);
  }
  temporary_ = aside;
  return absl::OkStatus();
}

absl::Status AtomicDirectory::Commit() {
  struct stat info;
  if (replaces_ && lstat(path_.c_str(), &info) == 0) {
    EDGETUNE_RETURN_IF_ERROR(Replace());
    std::error_code error;
    std::filesystem::remove_all(temporary_, error);
    if (error) return ErrnoStatus(error.value(), "cannot remove", temporary_);
  } else if (rename(temporary_.c_str(), path_.c_str()) != 0) {
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
