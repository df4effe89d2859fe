#include "training/engine_loader.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <malloc.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr char kSymbol[] = "edgetune_engine";

struct Library {
  const char* file;
  const char* needs;  // for whoever cannot open it
};
constexpr Library kFused = {"libedgetune_fused.so",
                            "install Debian's libdnnl2 and libhwy1"};
constexpr Library kReference = {"libedgetune_torch.so",
                                "install Debian's libtorch1.13"};

std::vector<std::string> Candidates(const char* file) {
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

absl::StatusOr<std::string> Find(const Library& library) {
  const std::vector<std::string> candidates = Candidates(library.file);
  for (const std::string& path : candidates) {
    std::error_code error;
    if (std::filesystem::exists(path, error)) return path;
  }
  return Failed(
      fmt::format("no engine: {} is not there", fmt::join(candidates, " nor ")),
      "build it (the reference engine wants EDGETUNE_TORCH=ON), or set "
      "EDGETUNE_ENGINE_DIR to the folder that holds it");
}

// The library stays open: it is in use until the process ends, and LibTorch
// does not survive being closed.
absl::StatusOr<Engine*> Open(const std::string& path, const Library& library) {
  void* opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    return Failed(fmt::format("cannot open the engine: {}", dlerror()),
                  fmt::format("{}, or build edgetune again", library.needs));
  }
  auto* make = reinterpret_cast<EdgetuneEngineFn*>(dlsym(opened, kSymbol));
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

void PrepareForEngines() {
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  setenv("GOMP_SPINCOUNT", "2000", /*overwrite=*/0);
#ifdef __GLIBC__
  // The default, but never raised: else buffers that grow leave holes in the
  // heap, which made a fifth of the memory of uneven examples.
  constexpr int kOwnPages = 128 * 1024;
  mallopt(M_MMAP_THRESHOLD, kOwnPages);
#endif
}

bool MeansFused(std::string_view name) {
#if defined(__x86_64__)
  if (name == "auto") return true;
#endif
  return name == "fused";
}

absl::StatusOr<Engine*> LoadEngine(std::string_view name) {
  if (name != "auto" && name != "fused" && name != "reference") {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "engine \"{}\" is not known; auto, fused and reference are", name)),
        ErrorKind::kConfig);
  }
  const bool fused = MeansFused(name);
  static std::mutex mu;
  static Engine* engines[2] = {};
  const std::lock_guard<std::mutex> lock(mu);
  Engine*& loaded = engines[fused ? 0 : 1];
  if (loaded != nullptr) return loaded;
  const Library& library = fused ? kFused : kReference;
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path, Find(library));
  EDGETUNE_ASSIGN_OR_RETURN(loaded, Open(path, library));
  return loaded;
}

}  // namespace edgetune
