// The one door of libedgetune_torch.so.

#include <cstring>
#include <utility>

#include "base/status.h"
#include "models/torch/language_model_torch.h"
#include "training/engine_loader.h"
#include "training/torch/lora_trainer.h"
#include "training/torch/torch_distiller.h"
#include "training/torch/torch_teacher.h"
#include "training/torch/vision_teacher.h"
#include "training/torch/vision_trainer.h"

namespace edgetune {
namespace {

absl::Status CheckPrecision(Precision precision) {
  if (precision != Precision::kInt8) return absl::OkStatus();
  return Annotate(absl::FailedPreconditionError(
                      "the engine reference has no products in 8 bits"),
                  ErrorKind::kConfig, "another precision, or the engine fused");
}

class TorchEngine final : public Engine {
 public:
  bool UsesBf16(Precision precision) const override {
    return precision == Precision::kAuto ? CpuMultipliesBf16()
                                         : precision == Precision::kBf16;
  }

  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    if (model->config().image.has_value()) {
      return VisionTrainer::Make(std::move(model), options);
    }
    EDGETUNE_RETURN_IF_ERROR(CheckPrecision(options.precision));
    return LoraTrainer::Make(std::move(model), options);
  }

  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    EDGETUNE_RETURN_IF_ERROR(CheckPrecision(options.precision));
    TorchModelOptions torch;
    torch.bf16 = UsesBf16(options.precision);
    torch.threads = options.threads;
    return MakeTorchLanguageModel(std::move(model), torch);
  }

  absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacher(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens,
      const EngineOptions& options) override {
    if (teacher->config().image.has_value()) {
      return MakeVisionTeacher(std::move(teacher), student, options);
    }
    EDGETUNE_RETURN_IF_ERROR(CheckPrecision(options.precision));
    return MakeTorchTeacher(std::move(teacher), student,
                            std::move(teacher_tokens), options);
  }

  absl::StatusOr<std::unique_ptr<Distiller>> MakeDistiller(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens,
      const EngineOptions& options) override {
    EDGETUNE_RETURN_IF_ERROR(CheckPrecision(options.precision));
    return TorchDistiller::Make(std::move(teacher), student,
                                std::move(teacher_tokens), options);
  }
};

}  // namespace
}  // namespace edgetune

extern "C" __attribute__((visibility("default"))) edgetune::Engine*
edgetune_engine(const char* build_id) {
  if (std::strcmp(build_id, EDGETUNE_ENGINE_BUILD_ID) != 0) return nullptr;
  static edgetune::TorchEngine engine;
  return &engine;
}
