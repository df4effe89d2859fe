#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_directory.h"
#include "base/mapped_file.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "storage/blob_store.h"
#include "tools/child_process.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/model_verb.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = 1 << 20;

struct ImportOptions {
  std::string path;
  std::string name;
  bool link = false;
};

// Copies files, hashing what it copies: the digest is that of the copy.
class Copier {
 public:
  Copier(AtomicDirectory* out, uint64_t total, const Output& output)
      : out_(out), progress_(output, "import", total, Progress::Unit::kBytes) {}

  absl::StatusOr<v1::FilePart> Copy(const BaseFile& file) {
    EDGETUNE_ASSIGN_OR_RETURN(auto source, MappedFile::Open(file.path));
    EDGETUNE_ASSIGN_OR_RETURN(auto copy,
                              AtomicFile::Create(out_->PathOf(file.name)));
    Sha256Stream hash;
    const auto bytes = source->bytes();
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      if (Interrupted()) return InterruptedError();
      const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      hash.Update(piece);
      EDGETUNE_RETURN_IF_ERROR(copy->Append(piece));
      MappedFile::Release(piece);
      progress_.Update(done_ += piece.size());
    }
    EDGETUNE_RETURN_IF_ERROR(copy->Commit());
    v1::FilePart part;
    part.set_name(file.name);
    part.set_size(bytes.size());
    part.set_sha256(DigestBytes(hash.Finish()));
    return part;
  }

 private:
  AtomicDirectory* const out_;
  Progress progress_;
  uint64_t done_ = 0;
};

absl::StatusOr<std::vector<v1::FilePart>> CopyAll(
    const std::vector<BaseFile>& files, AtomicDirectory* out,
    const Output& output) {
  uint64_t total = 0;
  for (const BaseFile& file : files) {
    std::error_code ignored;
    const uintmax_t size = fs::file_size(file.path, ignored);
    if (!ignored) total += size;
  }
  Copier copier(out, total, output);
  std::vector<v1::FilePart> parts;
  for (const BaseFile& file : files) {
    EDGETUNE_ASSIGN_OR_RETURN(parts.emplace_back(), copier.Copy(file));
  }
  return parts;
}

absl::StatusOr<std::vector<v1::FilePart>> LinkAll(
    const std::vector<BaseFile>& files, AtomicDirectory* out) {
  std::vector<v1::FilePart> parts;
  for (const BaseFile& file : files) {
    std::error_code error;
    const fs::path target = fs::absolute(file.path);
    fs::create_symlink(target, out->PathOf(file.name), error);
    if (error) {
      return ErrnoStatus(error.value(), "cannot link", target.string());
    }
    EDGETUNE_ASSIGN_OR_RETURN(parts.emplace_back(), PartOf(file));
  }
  return parts;
}

absl::StatusOr<std::string> NameFor(const ImportOptions& options) {
  std::string name = options.name;
  if (name.empty()) name = ModelDisplayName(options.path);
  if (!IsModelName(name)) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "'{}' cannot name a model: wanted letters, digits, . _ and -",
            name)),
        ErrorKind::kUsage, "choose one with --name");
  }
  if (FindKnownModel(name) != nullptr) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "{} is the name of a model that is fetched", name)),
                    ErrorKind::kUsage,
                    "choose another with --name, or run: edgetune model fetch");
  }
  return name;
}

absl::Status Import(const ImportOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string name, NameFor(options));
  // By its path, even where the cache has a model of that name.
  auto model = ModelFile::Open(options.path);
  if (!model.ok()) return model.status();
  EDGETUNE_ASSIGN_OR_RETURN(auto files, BaseFilesOf(options.path));
  CatchInterrupts();
  const std::string directory = ImportDirectory(name);
  EDGETUNE_RETURN_IF_ERROR(
      MakeDirectories(fs::path(directory).parent_path().string()));
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  EDGETUNE_ASSIGN_OR_RETURN(auto parts,
                            options.link ? LinkAll(files, out.get())
                                         : CopyAll(files, out.get(), output));
  EDGETUNE_RETURN_IF_ERROR(out->Write(kPartsFile, PartsText(parts)));
  EDGETUNE_RETURN_IF_ERROR(out->Commit());
  uint64_t bytes = 0;
  for (const v1::FilePart& part : parts) bytes += part.size();
  const std::string digest = ToHex(BaseDigest(parts));
  return output.Finish(
      {{"name", name},
       {"path", directory},
       {"architecture", (*model)->config().architecture},
       {"files", parts.size()},
       {"bytes", bytes},
       {"linked", options.link},
       {"digest", digest}},
      output.quiet
          ? directory
          : fmt::format("{} is at {}: {} in {} file{}, digest {}", name,
                        directory, FormatBytes(bytes), parts.size(),
                        parts.size() == 1 ? "" : "s", digest));
}

}  // namespace

void AddModelImportVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<ImportOptions>();
  CLI::App* verb = AddVerb(
      group, invocation, "import",
      "Check a model and bring it into the cache, under a name of its own",
      [options, &output] { return Import(*options, output); });
  verb->add_option("path", options->path, "GGUF file or Hugging Face directory")
      ->required();
  verb->add_option("--name", options->name,
                   "What it is called from now on (default: the path's last "
                   "part)");
  verb->add_flag("--link", options->link,
                 "Link to the files instead of copying them; they must then "
                 "stay as they are");
}

}  // namespace edgetune
