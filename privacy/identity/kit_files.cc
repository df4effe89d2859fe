#include "privacy/identity/kit_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = 64 << 20;
constexpr char kProvisionHint[] =
    "make kits with `edgetune provision` and give this program one of them";

std::string PathOf(const std::string& directory, const char* name) {
  return fmt::format("{}/{}", directory, name);
}

}  // namespace

absl::StatusOr<std::string> ReadKitFile(const std::string& directory,
                                        const char* name) {
  auto text = ReadFile(PathOf(directory, name), kMaxFileBytes);
  if (text.ok()) return text;
  return Annotate(
      Prefix(text.status(), fmt::format("kit {} is not usable", directory)),
      ErrorKind::kIdentity, kProvisionHint);
}

absl::Status WriteKitFile(const std::string& directory, const char* name,
                          std::string_view text) {
  return WriteFileAtomically(PathOf(directory, name), text, 0600);
}

absl::Status WriteSigningKey(const std::string& directory, const char* name,
                             const SigningKey& key) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string pem, key.ToPem());
  const absl::Status status = WriteKitFile(directory, name, pem);
  WipeString(pem);
  return status;
}

absl::StatusOr<SigningKey> ReadSigningKey(const std::string& directory,
                                          const char* name) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string pem, ReadKitFile(directory, name));
  auto key = SigningKey::FromPem(pem);
  WipeString(pem);
  if (key.ok()) return key;
  return Annotate(Prefix(key.status(), PathOf(directory, name)),
                  ErrorKind::kIdentity, kProvisionHint);
}

absl::StatusOr<NewDirectory> NewDirectory::Create(const std::string& target) {
  std::string path = target + ".partXXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return ErrnoStatus(errno, "cannot create", target);
  }
  return NewDirectory(std::move(path));
}

NewDirectory::NewDirectory(NewDirectory&& other) noexcept
    : path_(std::exchange(other.path_, std::string())) {}

NewDirectory::~NewDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

absl::Status NewDirectory::Publish(const std::string& target) {
  // Replaces an empty directory; any other is refused by the kernel.
  if (rename(path_.c_str(), target.c_str()) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) {
      return absl::AlreadyExistsError(fmt::format("{} already exists", target));
    }
    return ErrnoStatus(errno, "cannot create", target);
  }
  path_.clear();
  const std::string parent = fs::path(target).parent_path();
  return FsyncDirectory(parent.empty() ? "." : parent);
}

absl::StatusOr<KitLock> KitLock::Take(const std::string& directory) {
  const std::string path = PathOf(directory, kLockFile);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  KitLock lock(fd);
  while (flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "cannot lock", path);
  }
  return lock;
}

KitLock::KitLock(KitLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

KitLock::~KitLock() {
  if (fd_ >= 0) close(fd_);  // and with it the lock
}

}  // namespace edgetune
