#include <utility>

#include "models/torch/language_model_torch.h"
#include "tests/engines/engine_under_test.h"
#include "training/torch/lora_trainer.h"
#include "training/torch/torch_teacher.h"

namespace edgetune::testing {

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainerUnderTest(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return LoraTrainer::Make(std::move(model), options);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModelUnderTest(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return MakeTorchLanguageModel(
      std::move(model),
      {options.precision == Precision::kBf16, options.threads});
}

absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacherUnderTest(
    std::shared_ptr<const ModelFile> model, const ModelConfig& student,
    std::vector<int32_t> tokens, const EngineOptions& options) {
  return MakeTorchTeacher(std::move(model), student, std::move(tokens),
                          options);
}

absl::StatusOr<BatchGradient> GradientOf(Trainer& trainer,
                                         const Adapter& adapter,
                                         const ExampleSource& examples,
                                         int64_t micro_batch) {
  return static_cast<LoraTrainer&>(trainer).ComputeGradient(adapter, examples,
                                                            micro_batch);
}

}  // namespace edgetune::testing
