#ifndef EDGETUNE_TRAINING_FUSED_FUSED_TEACHER_H_
#define EDGETUNE_TRAINING_FUSED_FUSED_TEACHER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "training/distillation/teacher.h"
#include "training/engine_loader.h"

namespace edgetune {

// The fast Teacher: fused::Llama, without LibTorch. Only the student's rows of
// the projection are multiplied. Of equally likely tokens those of lower ids
// come first. The same for the same number of threads. InvalidArgument: tokens
// (MapTokens) that do not fit the two.
absl::StatusOr<std::unique_ptr<Teacher>> MakeFusedTeacher(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    std::vector<int32_t> teacher_tokens, const EngineOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_FUSED_FUSED_TEACHER_H_
