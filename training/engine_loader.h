#ifndef EDGETUNE_TRAINING_ENGINE_LOADER_H_
#define EDGETUNE_TRAINING_ENGINE_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/calibrator.h"
#include "models/io/model_file.h"
#include "models/language_model.h"
#include "training/distillation/distiller.h"
#include "training/distillation/teacher.h"
#include "training/trainer.h"

namespace edgetune {

// Where the fused engine has the frozen weights.
enum class WeightMemory {
  kMapped,  // in the model's file, de-quantised matrix by matrix for each use
  kCopied,  // all of them converted once: faster by a few per cent
};

struct EngineOptions {
  Precision precision = Precision::kAuto;
  int threads = 0;  // 0: all cores
  WeightMemory weights = WeightMemory::kMapped;
  // Of a layer only what comes in is kept for the way back, and the rest
  // computed again: a third more work, a fraction of the activations.
  bool recompute = false;
};

// Makes trainers and language models over one engine. Thread-safe. The model
// file must outlive what is made from it.
class Engine {
 public:
  virtual ~Engine() = default;
  // Whether this becomes products in bfloat16 on this machine.
  virtual bool UsesBf16(Precision precision) const = 0;
  virtual absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options) = 0;
  // FailedPrecondition (kConfig): an engine that cannot show its inputs.
  virtual absl::StatusOr<std::unique_ptr<Calibrator>> MakeCalibrator(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options);
  // `teacher_tokens`: of MapTokens (distillation/token_map.h); of a teacher of
  // images none. FailedPrecondition (kConfig): an engine without such models.
  virtual absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacher(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens, const EngineOptions& options);
  // A teacher and the shape of a student; `teacher_tokens` likewise.
  // FailedPrecondition (kConfig): an engine that cannot train all weights of a
  // model of texts.
  virtual absl::StatusOr<std::unique_ptr<Distiller>> MakeDistiller(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens, const EngineOptions& options);
};

// Sets, unless the environment says otherwise, that threads of an engine that
// wait for each other spin for some 50 microseconds and then sleep: OpenMP
// reads this when an engine is loaded. Spinning on costs more than the work
// where other processes want the cores; sleeping at once costs a third of the
// speed of generation, whose products take less than waking up. And that memory
// of large buffers goes back to the system when they are freed, until the
// reference engine is loaded. At the beginning of main, before there are
// threads.
void PrepareForEngines();

// The engine of a setting `train.engine`: "fused", the fast one;
// "reference", over LibTorch; "auto": the fused one where oneDNN has fast
// kernels (x86-64), else the reference.
//
// Opens libedgetune_fused.so or libedgetune_torch.so (each once a process,
// never closed): in the program's ../lib, in ../lib/edgetune, or where
// EDGETUNE_ENGINE_DIR says. InvalidArgument: another word. FailedPrecondition:
// not there, or of another build (its build id differs).
absl::StatusOr<Engine*> LoadEngine(std::string_view name);

// Whether that would be the fused one; false for what is no engine.
bool MeansFused(std::string_view name);

}  // namespace edgetune

// The one symbol such a shared object exports, "edgetune_engine". Returns
// nullptr unless `build_id` is its own.
extern "C" {
using EdgetuneEngineFn = edgetune::Engine*(const char* build_id);
}

#endif  // EDGETUNE_TRAINING_ENGINE_LOADER_H_
