#ifndef EDGETUNE_TRAINING_TORCH_VISION_TEACHER_H_
#define EDGETUNE_TRAINING_TORCH_VISION_TEACHER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "training/distillation/teacher.h"
#include "training/engine_loader.h"

namespace edgetune {

// The Teacher of models of images, in float32: what it says of an image are
// classes. The student may have another architecture and look at pixels in
// another way. InvalidArgument (kModel): another number of classes, images of
// another shape.
absl::StatusOr<std::unique_ptr<Teacher>> MakeVisionTeacher(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    const EngineOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_VISION_TEACHER_H_
