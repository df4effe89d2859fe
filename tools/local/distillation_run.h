#ifndef EDGETUNE_TOOLS_LOCAL_DISTILLATION_RUN_H_
#define EDGETUNE_TOOLS_LOCAL_DISTILLATION_RUN_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/output.h"
#include "training/distillation/distiller.h"
#include "training/text_data_set.h"
#include "training/trainer.h"

namespace edgetune {

// Of the examples, where nobody names others to hold out.
inline constexpr double kDistillationHeldOutShare = 0.05;
inline constexpr absl::Duration kDistillationCheckpointEvery = absl::Minutes(1);

struct DistillOptions {
  std::string teacher;  // name or path
  std::string student;  // likewise, or a config.json: from random weights
  std::string tokens;   // model whose tokens the latter has; "": the teacher's
  std::string data, heldout;
  std::string out, to = "hf", type;
  std::string cache;               // of the teacher's likeliest; needs top_k
  std::string checkpoint;          // "": none
  std::string precision = "auto";  // of the teacher's products
  DistillationConfig loss;
  TrainConfig train;
  TextDataOptions text;
  int64_t top_k = 0;  // 0: the whole teacher, asked at every step
  int64_t evaluate_every = 0;
  int64_t threads = 0;
};

// What `distill` does: opens and compares both models, reads the examples,
// fills or opens the cache, trains the student, writes it as an ordinary model.
// Ctrl-C leaves nothing but the cache, once whole, and the checkpoint. Of a
// teacher of images DistillImages (image_distillation.h).
absl::Status Distill(const DistillOptions& options, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_DISTILLATION_RUN_H_
