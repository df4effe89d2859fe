#include <utility>

#include "models/fused/language_model_fused.h"
#include "tests/engines/engine_under_test.h"
#include "training/fused/fused_teacher.h"
#include "training/fused/fused_trainer.h"

namespace edgetune::testing {

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainerUnderTest(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return FusedTrainer::Make(std::move(model), options);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModelUnderTest(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return MakeFusedLanguageModel(
      std::move(model), FusedTrainer::ModelOptions(options), options.threads);
}

absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacherUnderTest(
    std::shared_ptr<const ModelFile> model, const ModelConfig& student,
    std::vector<int32_t> tokens, const EngineOptions& options) {
  return MakeFusedTeacher(std::move(model), student, std::move(tokens),
                          options);
}

absl::StatusOr<BatchGradient> GradientOf(Trainer& trainer,
                                         const Adapter& adapter,
                                         const ExampleSource& examples,
                                         int64_t micro_batch) {
  return static_cast<FusedTrainer&>(trainer).ComputeGradient(adapter, examples,
                                                             micro_batch);
}

}  // namespace edgetune::testing
