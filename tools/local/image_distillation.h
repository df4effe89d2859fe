#ifndef EDGETUNE_TOOLS_LOCAL_IMAGE_DISTILLATION_H_
#define EDGETUNE_TOOLS_LOCAL_IMAGE_DISTILLATION_H_

#include "absl/status/status.h"
#include "tools/local/distillation_run.h"

namespace edgetune {

// `distill` of a teacher of images, with options that were looked at: it says
// what it sees in each training image once, then the student's weights are
// trained, and the student is written as a model directory. kUsage: an option
// that is of texts alone.
absl::Status DistillImages(const DistillOptions& options, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_IMAGE_DISTILLATION_H_
