#ifndef EDGETUNE_TRAINING_TORCH_TORCH_TEACHER_H_
#define EDGETUNE_TRAINING_TORCH_TORCH_TEACHER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "training/distillation/teacher.h"
#include "training/engine_loader.h"

namespace edgetune {

// The Teacher over LibTorch, products in options.precision. Holds `teacher` and
// its de-quantised weights, read when they are first needed. InvalidArgument:
// tokens (MapTokens) that do not fit the two.
absl::StatusOr<std::unique_ptr<Teacher>> MakeTorchTeacher(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    std::vector<int32_t> teacher_tokens, const EngineOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_TORCH_TEACHER_H_
