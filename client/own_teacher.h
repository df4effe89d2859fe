#ifndef EDGETUNE_CLIENT_OWN_TEACHER_H_
#define EDGETUNE_CLIENT_OWN_TEACHER_H_

// Federated distillation: what a model of a device's own, larger than the
// plan's and never sent anywhere, says of the device's training examples. It is
// asked once, before the plan's model is trained, and then let go. Stateless.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "training/distillation/targets.h"
#include "training/engine_loader.h"

namespace edgetune {

// Whether devices that hold a teacher learn from it.
bool AsksTeachers(const v1::TaskPlan& plan);

// Where a device keeps the answers; "": nowhere, of one without a state
// directory.
std::string TeacherCacheIn(const std::string& state_directory);

struct TeacherQuestion {
  const v1::TaskPlan& plan;  // with AsksTeachers
  const ModelFile& student;  // the plan's model
  Engine& engine;
  int64_t threads = 0;  // 0: all cores
  std::string teacher;  // GGUF file or directory
  // File in which the answers stay: a restarted device does not ask again;
  // "": none.
  std::string cache = {};
  std::function<void(int64_t)> progress = {};  // positions done; may be empty
};

// InvalidArgument (kModel): a teacher of other tokens, classes or images than
// the student's. Others of ModelFile::Open (kModel), Teacher and
// TeacherCacheWriter; Cancelled: stopped.
absl::StatusOr<std::shared_ptr<const TeacherTargets>> AskTeacher(
    const TeacherQuestion& question, const ExampleSource& examples,
    const StopToken& stop);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_OWN_TEACHER_H_
