#include "base/own_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

std::vector<std::string> Candidates(const std::string& file) {
  if (const char* chosen = std::getenv("EDGETUNE_ENGINE_DIR")) {
    return {std::string(chosen) + "/" + file};
  }
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const auto lib = program.parent_path().parent_path() / "lib";
  return {lib / file, lib / "edgetune" / file};
}

absl::Status Failed(const std::string& message, std::string_view hint) {
  return Annotate(absl::FailedPreconditionError(message), ErrorKind::kFailed,
                  hint);
}

absl::StatusOr<std::string> Find(const OwnLibrary& library) {
  const std::vector<std::string> candidates = Candidates(library.file);
  for (const std::string& path : candidates) {
    std::error_code error;
    if (std::filesystem::exists(path, error)) return path;
  }
  return Failed(fmt::format("no {}: {} is not there", library.what,
                            fmt::join(candidates, " nor ")),
                library.if_missing);
}

}  // namespace

absl::StatusOr<void*> OpenOwnLibrary(const OwnLibrary& library) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path, Find(library));
  void* opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    return Failed(
        fmt::format("cannot open the {}: {}", library.what, dlerror()),
        fmt::format("{}, or build edgetune again", library.if_unopened));
  }
  void* entry = dlsym(opened, library.entry.c_str());
  if (entry == nullptr) {
    return Failed(fmt::format("{} does not export {}", path, library.entry),
                  fmt::format("it is not an edgetune {}", library.what));
  }
  return entry;
}

absl::Status OfAnotherBuild(const OwnLibrary& library, const char* wanted) {
  return Failed(
      fmt::format("{} is of another build: wanted {}", library.file, wanted),
      fmt::format("install program and {} from one build", library.what));
}

}  // namespace edgetune
