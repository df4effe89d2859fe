#include "training/engine_loader.h"

#include <fmt/format.h>
#include <malloc.h>

#include <cstdlib>
#include <mutex>

#include "base/own_library.h"
#include "base/status.h"

namespace edgetune {
namespace {

OwnLibrary LibraryOf(bool fused) {
  return {.what = "engine",
          .file = fused ? "libedgetune_fused.so" : "libedgetune_torch.so",
          .entry = "edgetune_engine",
          .if_missing =
              "build it (the reference engine wants EDGETUNE_TORCH=ON), or set "
              "EDGETUNE_ENGINE_DIR to the folder that holds it",
          .if_unopened = fused ? "install Debian's libdnnl2 and libhwy1"
                               : "install Debian's libtorch1.13"};
}

absl::StatusOr<Engine*> Open(const OwnLibrary& library) {
  EDGETUNE_ASSIGN_OR_RETURN(void* const entry, OpenOwnLibrary(library));
  auto* make = reinterpret_cast<EdgetuneEngineFn*>(entry);
  Engine* engine = make(EDGETUNE_ENGINE_BUILD_ID);
  if (engine == nullptr) {
    return OfAnotherBuild(library, EDGETUNE_ENGINE_BUILD_ID);
  }
  return engine;
}

// LibTorch asks for each tensor anew, a step's the same as the last one's:
// pages that went back to the system in between made two fifths of the time of
// a small model's step.
void KeepFreedMemory() {
#ifdef __GLIBC__
  constexpr int kLargestShared = 32 << 20;  // glibc once took no more
  constexpr int kKept = 512 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargestShared);
  mallopt(M_TRIM_THRESHOLD, kKept);
#endif
}

}  // namespace

absl::StatusOr<std::unique_ptr<Calibrator>> Engine::MakeCalibrator(
    std::shared_ptr<const ModelFile> /*model*/,
    const EngineOptions& /*options*/) {
  return Annotate(absl::FailedPreconditionError(
                      "this engine does not show what its linears are given"),
                  ErrorKind::kConfig, "take the engine fused");
}

absl::StatusOr<std::unique_ptr<Teacher>> Engine::MakeTeacher(
    std::shared_ptr<const ModelFile> /*teacher*/,
    const ModelConfig& /*student*/, std::vector<int32_t> /*teacher_tokens*/,
    const EngineOptions& /*options*/) {
  return Annotate(
      absl::FailedPreconditionError("this engine has no models of texts"),
      ErrorKind::kConfig, "take the engine fused or reference");
}

absl::StatusOr<std::unique_ptr<Distiller>> Engine::MakeDistiller(
    std::shared_ptr<const ModelFile> /*teacher*/,
    const ModelConfig& /*student*/, std::vector<int32_t> /*teacher_tokens*/,
    const EngineOptions& /*options*/) {
  return Annotate(absl::FailedPreconditionError(
                      "this engine does not train all weights of a model of "
                      "texts"),
                  ErrorKind::kConfig, "take the engine reference");
}

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
  EDGETUNE_ASSIGN_OR_RETURN(loaded, Open(LibraryOf(fused)));
  if (!fused) KeepFreedMemory();
  return loaded;
}

}  // namespace edgetune
