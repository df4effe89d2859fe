// Resumable arrivals of BlobStore. Whoever works on a partial holds the lock
// of its file, so threads and processes that share a store take turns.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "storage/blob_files.h"
#include "storage/file_blob_store.h"
#include "storage/file_descriptor.h"

namespace edgetune {
namespace {

constexpr uint64_t kSyncBytes = 4 << 20;
constexpr size_t kMaxNameLength = 128;

uint64_t BoundaryBefore(uint64_t offset) {
  return offset / kSyncBytes * kSyncBytes;
}

absl::StatusOr<std::string> PartialPath(const std::string& directory,
                                        const std::string& name) {
  const bool valid =
      !name.empty() && name.size() <= kMaxNameLength && name != "." &&
      name != ".." && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
      });
  if (!valid) {
    return absl::InvalidArgumentError(fmt::format(
        "'{}' cannot name an upload: wanted 1 to {} of A-Z a-z 0-9 . _ -", name,
        kMaxNameLength));
  }
  return PartialDirectory(directory) + "/" + name;
}

absl::Status RemovePartial(const std::string& directory,
                           const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "cannot remove", path);
  }
  return FsyncDirectory(PartialDirectory(directory));
}

absl::Status CheckRoom(const std::string& name, uint64_t size, uint64_t offset,
                       uint64_t count, uint64_t announced) {
  if (offset != size) {
    return absl::FailedPreconditionError(
        fmt::format("upload '{}' goes on at the wrong offset: got {}, wanted "
                    "{}",
                    name, offset, size));
  }
  if (size > announced || count > announced - size) {
    return absl::OutOfRangeError(fmt::format(
        "upload '{}' is longer than announced: {} bytes at {}, announced {}",
        name, count, offset, announced));
  }
  return absl::OkStatus();
}

// Cuts a partial back after a failed write; `cause` is returned.
absl::Status CutBack(const FileDescriptor& file, uint64_t size,
                     const std::string& path, absl::Status cause) {
  if (ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    return Prefix(
        cause, fmt::format("{} could not be cut back to {} bytes", path, size));
  }
  return cause;
}

// Synced when the bytes cross a boundary or end the upload.
absl::Status WriteAndSync(const FileDescriptor& file, uint64_t offset,
                          std::span<const uint8_t> bytes, uint64_t announced,
                          const std::string& path) {
  const absl::Status written = WriteAt(file, offset, bytes, path);
  if (!written.ok()) return CutBack(file, offset, path, written);
  const uint64_t end = offset + bytes.size();
  if (end != announced && BoundaryBefore(end) == BoundaryBefore(offset)) {
    return absl::OkStatus();
  }
  // After a failed sync nobody knows which pages since the last one are safe.
  const absl::Status synced = Fsync(file, path);
  return synced.ok() ? synced
                     : CutBack(file, BoundaryBefore(offset), path, synced);
}

// For a partial that is not there: an earlier call may have published it
// although its answer was lost.
absl::Status FinishedBefore(const BlobStore& store, const std::string& blobs,
                            const std::string& name, const Digest& digest,
                            uint64_t announced) {
  const auto present = store.Size(digest);
  if (present.ok() && *present == announced) return FsyncDirectory(blobs);
  return absl::NotFoundError(fmt::format("there is no upload '{}'", name));
}

}  // namespace

absl::StatusOr<uint64_t> FileBlobStore::PartialSize(
    const std::string& name) const {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                            PartialPath(directory_, name));
  struct stat info;
  if (stat(path.c_str(), &info) == 0) {
    return static_cast<uint64_t>(info.st_size);
  }
  if (errno == ENOENT) return uint64_t{0};
  return ErrnoStatus(errno, "cannot read the size of", path);
}

absl::Status FileBlobStore::AppendPartial(const std::string& name,
                                          uint64_t offset,
                                          std::span<const uint8_t> bytes,
                                          uint64_t announced_size) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                            PartialPath(directory_, name));
  // Checked before O_CREAT, so that a refused first call leaves no file.
  if (bytes.size() > announced_size) {
    return CheckRoom(name, offset, offset, bytes.size(), announced_size);
  }
  const int create = offset == 0 ? O_CREAT : 0;
  auto file = OpenLocked(path, O_RDWR | create, 0600, true);
  if (absl::IsNotFound(file.status())) {
    return CheckRoom(name, 0, offset, bytes.size(), announced_size);
  }
  EDGETUNE_RETURN_IF_ERROR(file.status());
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(*file, path));
  EDGETUNE_RETURN_IF_ERROR(
      CheckRoom(name, size, offset, bytes.size(), announced_size));
  EDGETUNE_RETURN_IF_ERROR(
      WriteAndSync(*file, offset, bytes, announced_size, path));
  return offset > 0 ? absl::OkStatus()
                    : FsyncDirectory(PartialDirectory(directory_));
}

absl::Status FileBlobStore::FinishPartial(const std::string& name,
                                          const Digest& digest,
                                          uint64_t announced_size) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                            PartialPath(directory_, name));
  auto file = OpenLocked(path, O_RDWR, 0600, true);
  if (absl::IsNotFound(file.status())) {
    return FinishedBefore(*this, BlobDirectory(directory_), name, digest,
                          announced_size);
  }
  EDGETUNE_RETURN_IF_ERROR(file.status());
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(*file, path));
  if (size < announced_size) {
    return absl::FailedPreconditionError(
        fmt::format("upload '{}' is not complete: {} of {} bytes", name, size,
                    announced_size));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const Digest found,
                            HashAndCopy(*file, path, nullptr, ""));
  if (size != announced_size || found != digest) {
    EDGETUNE_RETURN_IF_ERROR(RemovePartial(directory_, path));
    return Annotate(
        absl::DataLossError(fmt::format(
            "upload '{}' arrived damaged: got {} bytes with SHA-256 {}, "
            "wanted {} with {}",
            name, size, ToHex(found), announced_size, ToHex(digest))),
        ErrorKind::kDigestMismatch, "send it again from the start");
  }
  EDGETUNE_RETURN_IF_ERROR(Publish(directory_, *file, path, digest));
  return FsyncDirectory(PartialDirectory(directory_));
}

absl::Status FileBlobStore::DropPartial(const std::string& name) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                            PartialPath(directory_, name));
  const auto file = OpenLocked(path, O_RDWR, 0600, true);
  if (absl::IsNotFound(file.status())) return absl::OkStatus();
  EDGETUNE_RETURN_IF_ERROR(file.status());
  return RemovePartial(directory_, path);
}

}  // namespace edgetune
