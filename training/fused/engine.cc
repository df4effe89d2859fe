// The one door of libedgetune_fused.so.

#include <cstring>
#include <utility>

#include "base/status.h"
#include "models/fused/calibrator_fused.h"
#include "models/fused/language_model_fused.h"
#include "training/engine_loader.h"
#include "training/fused/fused_teacher.h"
#include "training/fused/fused_trainer.h"

namespace edgetune {
namespace {

absl::Status CheckTexts(const ModelFile& model) {
  if (!model.config().image.has_value()) return absl::OkStatus();
  return Annotate(absl::FailedPreconditionError(
                      "the engine fused knows no models of images"),
                  ErrorKind::kConfig, "take train.engine = \"reference\"");
}

class FusedEngine final : public Engine {
 public:
  bool UsesBf16(Precision precision) const override {
    return FusedTrainer::ModelOptions({.precision = precision}).bf16;
  }

  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    EDGETUNE_RETURN_IF_ERROR(CheckTexts(*model));
    return FusedTrainer::Make(std::move(model), options);
  }

  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    return MakeFusedLanguageModel(
        std::move(model), FusedTrainer::ModelOptions(options), options.threads);
  }

  absl::StatusOr<std::unique_ptr<Calibrator>> MakeCalibrator(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    return MakeFusedCalibrator(
        std::move(model), FusedTrainer::ModelOptions(options), options.threads);
  }

  absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacher(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens,
      const EngineOptions& options) override {
    EDGETUNE_RETURN_IF_ERROR(CheckTexts(*teacher));
    return MakeFusedTeacher(std::move(teacher), student,
                            std::move(teacher_tokens), options);
  }
};

}  // namespace
}  // namespace edgetune

extern "C" __attribute__((visibility("default"))) edgetune::Engine*
edgetune_engine(const char* build_id) {
  if (std::strcmp(build_id, EDGETUNE_ENGINE_BUILD_ID) != 0) return nullptr;
  static edgetune::FusedEngine engine;
  return &engine;
}
