#ifndef EDGETUNE_TOOLS_FEDERATION_PLAN_BUILDER_H_
#define EDGETUNE_TOOLS_FEDERATION_PLAN_BUILDER_H_

// Run file + model file -> plan. `train`, `run submit`, `plan check` and `demo`
// all build theirs here. Stateless.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/parameters.h"
#include "config/run_file.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

struct PlanRequest {
  RunFile run;
  std::string name;  // of the run, for people; cut to 100 characters
  // Where the base lies; run.model.base resolved.
  std::string model_path;
  const ModelFile* model = nullptr;
  absl::Time now;
  std::string token;  // empty: a random nonce
};

struct BuiltPlan {
  v1::TaskPlan plan;
  std::string payload;  // what is signed and hashed
  std::string run_id;   // SHA-256 of it, 32 bytes
  Adapter initial;      // a function of the layout and the run's seed
  std::string initial_blob;
};

// A checked plan: everything that a server would refuse is refused here.
// InvalidArgument (kConfig, kModel).
absl::StatusOr<BuiltPlan> BuildPlan(const PlanRequest& request);

// The parts of a plan that follow from the run file alone: all but header,
// name, nonce, model and lora.
void FillFromRunFile(const RunFile& run, v1::TaskPlan* plan);

// How long a plan may be executed after it was signed.
inline constexpr absl::Duration kPlanLife = absl::Hours(24 * 30);

// A run file and all that follows from it, opened once.
struct PreparedRun {
  RunFile run;
  std::vector<ConfigOrigin> settings;  // every key of it
  std::string model_path;
  std::shared_ptr<const ModelFile> model;
  BuiltPlan built;
};
// Reads the run file (empty: defaults alone) with `sets` over it, opens the
// model, builds the plan, signed at `now`.
absl::StatusOr<PreparedRun> PrepareRun(const std::string& run_file,
                                       const std::vector<std::string>& sets,
                                       const std::string& token,
                                       absl::Time now = absl::Now());

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_FEDERATION_PLAN_BUILDER_H_
