#ifndef EDGETUNE_TRAINING_ENGINE_LOADER_H_
#define EDGETUNE_TRAINING_ENGINE_LOADER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/language_model.h"
#include "training/trainer.h"

namespace edgetune {

struct EngineOptions {
  Precision precision = Precision::kAuto;
  int threads = 0;  // 0: all cores
};

// Makes trainers and language models over one engine. Thread-safe. The model
// file must outlive what is made from it.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options) = 0;
};

// Opens libedgetune_torch.so (once a process, never closed): beside the
// program's ../lib, in ../lib/edgetune, or where EDGETUNE_ENGINE_DIR says.
// FailedPrecondition: not there, or of another build (its build id differs).
absl::StatusOr<Engine*> LoadTorchEngine();

}  // namespace edgetune

// The one symbol the shared object exports. Returns nullptr unless `build_id`
// is its own.
extern "C" {
using EdgetuneTorchEngineFn = edgetune::Engine*(const char* build_id);
}

#endif  // EDGETUNE_TRAINING_ENGINE_LOADER_H_
