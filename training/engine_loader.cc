#include "training/engine_loader.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr char kLibrary[] = "libedgetune_torch.so";
constexpr char kSymbol[] = "edgetune_torch_engine";

std::vector<std::string> Candidates() {
  if (const char* chosen = std::getenv("EDGETUNE_ENGINE_DIR")) {
    return {std::string(chosen) + "/" + kLibrary};
  }
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const auto lib = program.parent_path().parent_path() / "lib";
  return {lib / kLibrary, lib / "edgetune" / kLibrary};
}

absl::Status Failed(const std::string& message, std::string_view hint) {
  return Annotate(absl::FailedPreconditionError(message), ErrorKind::kFailed,
                  hint);
}

absl::StatusOr<std::string> Find() {
  const std::vector<std::string> candidates = Candidates();
  for (const std::string& path : candidates) {
    std::error_code error;
    if (std::filesystem::exists(path, error)) return path;
  }
  return Failed(fmt::format("no LibTorch engine: {} is not there",
                            fmt::join(candidates, " nor ")),
                "build with EDGETUNE_TORCH=ON, or set EDGETUNE_ENGINE_DIR to "
                "the folder that holds it");
}

// The library stays open: it is in use until the process ends, and LibTorch
// does not survive being closed.
absl::StatusOr<Engine*> Open(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Failed(fmt::format("cannot open the LibTorch engine: {}", dlerror()),
                  "install Debian's libtorch1.13, or build edgetune again");
  }
  auto* make =
      reinterpret_cast<EdgetuneTorchEngineFn*>(dlsym(library, kSymbol));
  if (make == nullptr) {
    return Failed(fmt::format("{} does not export {}", path, kSymbol),
                  "it is not an edgetune engine");
  }
  Engine* engine = make(EDGETUNE_ENGINE_BUILD_ID);
  if (engine == nullptr) {
    return Failed(fmt::format("{} is of another build: wanted {}", path,
                              EDGETUNE_ENGINE_BUILD_ID),
                  "install program and engine from one build");
  }
  return engine;
}

}  // namespace

absl::StatusOr<Engine*> LoadTorchEngine() {
  static std::mutex mu;
  static Engine* loaded = nullptr;
  const std::lock_guard<std::mutex> lock(mu);
  if (loaded != nullptr) return loaded;
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path, Find());
  EDGETUNE_ASSIGN_OR_RETURN(loaded, Open(path));
  return loaded;
}

}  // namespace edgetune
