#include "storage/blob_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/status.h"
#include "base/units.h"
#include "storage/blob_files.h"
#include "storage/file_blob_store.h"
#include "storage/file_descriptor.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// A file under temporary/ that is locked while it lives, so that another
// process's Open does not take it for debris, and removed unless published.
class TemporaryFile {
 public:
  static absl::StatusOr<TemporaryFile> Create(const std::string& directory) {
    while (true) {
      std::string path = TemporaryDirectory(directory) + "/XXXXXX";
      FileDescriptor file(mkostemp(path.data(), O_CLOEXEC));
      if (file.get() < 0) return ErrnoStatus(errno, "cannot create", path);
      struct stat info;
      // An Open elsewhere may have removed it before the lock was taken.
      if (flock(file.get(), LOCK_EX | LOCK_NB) == 0 &&
          fstat(file.get(), &info) == 0 && info.st_nlink == 1) {
        return TemporaryFile(std::move(file), std::move(path));
      }
    }
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : file_(std::move(other.file_)), path_(std::move(other.path_)) {
    other.path_.clear();
  }
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }

  const FileDescriptor& file() const { return file_; }
  const std::string& path() const { return path_; }
  absl::Status PublishAs(const Digest& digest, const std::string& directory) {
    EDGETUNE_RETURN_IF_ERROR(Publish(directory, file_, path_, digest));
    path_.clear();  // the name may soon be another's
    return absl::OkStatus();
  }

 private:
  TemporaryFile(FileDescriptor file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

  FileDescriptor file_;
  std::string path_;
};

absl::StatusOr<std::vector<std::string>> FileNames(
    const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator();
       entries.increment(error)) {
    names.push_back(entries->path().filename());
  }
  if (error) return ErrnoStatus(error.value(), "cannot list", directory);
  return names;
}

absl::Status RemoveDebris(const std::string& temporary) {
  EDGETUNE_ASSIGN_OR_RETURN(auto names, FileNames(temporary));
  for (const std::string& name : names) {
    const std::string path = temporary + "/" + name;
    const FileDescriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (file.get() >= 0 && flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
      unlink(path.c_str());
    }
  }
  return absl::OkStatus();
}

class MappedBlob final : public BlobBytes {
 public:
  explicit MappedBlob(std::unique_ptr<MappedFile> file)
      : file_(std::move(file)) {}
  std::span<const uint8_t> bytes() const override { return file_->bytes(); }

 private:
  const std::unique_ptr<MappedFile> file_;
};

absl::Status Missing(const Digest& digest, const std::string& directory) {
  return absl::NotFoundError(
      fmt::format("there is no blob {} in {}", ToHex(digest), directory));
}

}  // namespace

std::string BlobDirectory(const std::string& directory) {
  return directory + "/blobs";
}
std::string PartialDirectory(const std::string& directory) {
  return directory + "/partial";
}
std::string TemporaryDirectory(const std::string& directory) {
  return directory + "/temporary";
}
std::string BlobPath(const std::string& directory, const Digest& digest) {
  return BlobDirectory(directory) + "/" + ToHex(digest);
}

absl::Status Publish(const std::string& directory, const FileDescriptor& file,
                     const std::string& path, const Digest& digest) {
  const std::string target = BlobPath(directory, digest);
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(file, path));
  struct stat present;
  if (stat(target.c_str(), &present) == 0 &&
      static_cast<uint64_t>(present.st_size) == size) {
    unlink(path.c_str());
  } else {
    EDGETUNE_RETURN_IF_ERROR(Fsync(file, path));
    if (rename(path.c_str(), target.c_str()) != 0) {
      return ErrnoStatus(errno, "cannot create", target);
    }
    // Last: a crash before it must not leave a partial that cannot be opened.
    if (fchmod(file.get(), 0400) != 0) {
      return ErrnoStatus(errno, "cannot set the mode of", target);
    }
  }
  // Also for one that was there: another thread may have renamed it an instant
  // ago and not synced yet.
  return FsyncDirectory(BlobDirectory(directory));
}

absl::StatusOr<std::unique_ptr<BlobStore>> BlobStore::Open(
    const std::string& directory) {
  for (const std::string& path :
       {directory, BlobDirectory(directory), PartialDirectory(directory),
        TemporaryDirectory(directory)}) {
    EDGETUNE_RETURN_IF_ERROR(MakeDirectories(path, 0700));
  }
  EDGETUNE_RETURN_IF_ERROR(RemoveDebris(TemporaryDirectory(directory)));
  EDGETUNE_RETURN_IF_ERROR(FsyncDirectory(directory));
  return std::make_unique<FileBlobStore>(directory);
}

absl::StatusOr<uint64_t> FileBlobStore::Size(const Digest& digest) const {
  struct stat info;
  const std::string path = BlobPath(directory_, digest);
  if (stat(path.c_str(), &info) == 0) {
    return static_cast<uint64_t>(info.st_size);
  }
  if (errno == ENOENT) return Missing(digest, directory_);
  return ErrnoStatus(errno, "cannot read the size of", path);
}

absl::StatusOr<std::unique_ptr<BlobBytes>> FileBlobStore::Get(
    const Digest& digest) const {
  auto file = MappedFile::Open(BlobPath(directory_, digest));
  if (absl::IsNotFound(file.status())) return Missing(digest, directory_);
  EDGETUNE_RETURN_IF_ERROR(file.status());
  return std::make_unique<MappedBlob>(*std::move(file));
}

absl::StatusOr<std::string> FileBlobStore::PathOf(const Digest& digest) const {
  return BlobPath(directory_, digest);
}

absl::StatusOr<Digest> FileBlobStore::Put(std::span<const uint8_t> bytes) {
  const Digest digest = Sha256(bytes);
  EDGETUNE_ASSIGN_OR_RETURN(TemporaryFile temporary,
                            TemporaryFile::Create(directory_));
  EDGETUNE_RETURN_IF_ERROR(
      WriteAt(temporary.file(), 0, bytes, temporary.path()));
  EDGETUNE_RETURN_IF_ERROR(temporary.PublishAs(digest, directory_));
  return digest;
}

absl::StatusOr<Digest> FileBlobStore::PutFile(const std::string& path) {
  const FileDescriptor source(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (source.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  EDGETUNE_ASSIGN_OR_RETURN(TemporaryFile temporary,
                            TemporaryFile::Create(directory_));
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest digest,
      HashAndCopy(source, path, &temporary.file(), temporary.path()));
  EDGETUNE_RETURN_IF_ERROR(temporary.PublishAs(digest, directory_));
  return digest;
}

absl::Status FileBlobStore::Remove(const Digest& digest) {
  const std::string path = BlobPath(directory_, digest);
  if (unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return Missing(digest, directory_);
    return ErrnoStatus(errno, "cannot remove", path);
  }
  return FsyncDirectory(BlobDirectory(directory_));
}

absl::StatusOr<std::vector<Digest>> FileBlobStore::List() const {
  EDGETUNE_ASSIGN_OR_RETURN(auto names, FileNames(BlobDirectory(directory_)));
  std::vector<Digest> digests;
  for (const std::string& name : names) {
    const auto bytes = FromHex(name);
    if (!bytes.has_value()) continue;
    if (auto digest = DigestFromBytes(*bytes); digest.ok()) {
      digests.push_back(*digest);
    }
  }
  std::sort(digests.begin(), digests.end());
  return digests;
}

absl::StatusOr<std::vector<std::string>> FileBlobStore::ListPartials() const {
  EDGETUNE_ASSIGN_OR_RETURN(auto names,
                            FileNames(PartialDirectory(directory_)));
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<Digest> HashFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  return HashAndCopy(file, path, nullptr, "");
}

absl::StatusOr<Digest> DigestFromBytes(std::string_view bytes) {
  Digest digest;
  if (bytes.size() != digest.size()) {
    return absl::InvalidArgumentError(
        fmt::format("a digest has the wrong length: got {} bytes, wanted {}",
                    bytes.size(), digest.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

std::string DigestBytes(const Digest& digest) {
  return std::string(reinterpret_cast<const char*>(digest.data()),
                     digest.size());
}

}  // namespace edgetune
