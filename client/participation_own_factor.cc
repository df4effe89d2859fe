// What a Participation does with factors that stay on the device (lora.rule
// "fedsa": Guo et al. 2024, "Selective Aggregation for Low-Rank Adaptation in
// Federated Learning"): A is everybody's, each device goes on with its own B.

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/factors.h"
#include "base/log.h"
#include "base/parameter_views.h"
#include "base/status.h"
#include "base/units.h"
#include "client/participation.h"
#include "client/train_plan.h"
#include "protos/plan_check.h"

namespace edgetune {

// A device without its B, whose state was lost, begins again with the published
// one: nobody else's training rests on it.
absl::Status Participation::LoadOwnFactor() {
  if (!KeepsOwnFactor(assignment_.plan)) return absl::OkStatus();
  OwnVectorStore& store = *workshop_.own_vectors;
  const std::string& run_id = assignment_.id.run_id;
  const absl::Status settled =
      store.Settle(run_id, assignment_.counted, workshop_.clock->Now());
  if (absl::IsFailedPrecondition(settled)) {
    LogWarning(fmt::format("{}: {}: it begins again with the published B",
                           Name(), std::string(settled.message())));
    EDGETUNE_RETURN_IF_ERROR(store.Forget(run_id));
  } else {
    EDGETUNE_RETURN_IF_ERROR(settled);
  }
  const size_t coordinates = LayoutOf(adapter_.layout, Factors::kB).size();
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector own,
                            store.Read(run_id, coordinates));
  if (own.empty()) return absl::OkStatus();
  Scatter(own, RangesOf(adapter_.layout, Factors::kB), adapter_.values);
  return absl::OkStatus();
}

absl::Status Participation::TakeOwnFactor() {
  if (!KeepsOwnFactor(assignment_.plan)) return absl::OkStatus();
  next_own_ = Gather(adapter_.values, RangesOf(adapter_.layout, Factors::kB));
  return CheckFinite(next_own_, "this device's own B");
}

// The only place where A and this device's B come together for good. It is no
// part of the run: a full disk does not end it.
void Participation::WriteOwnAdapter() {
  const std::string& state = workshop_.file->state;
  if (!KeepsOwnFactor(assignment_.plan) || assignment_.train || state.empty()) {
    return;
  }
  const std::string run = ToHex(std::string_view(assignment_.id.run_id));
  const std::string path = fmt::format("{}/adapters/{}", state, run);
  std::error_code ignored;
  std::filesystem::create_directories(state + "/adapters", ignored);
  std::filesystem::remove_all(path, ignored);  // of an earlier attempt
  const v1::TaskPlan& plan = assignment_.plan;
  absl::Status written = LoadAdapter();  // nothing may have been scored
  if (written.ok()) {
    written =
        WritePeftAdapter(path, adapter_, plan.model().name(),
                         {{"made_by", "edgetune-client " EDGETUNE_VERSION},
                          {"run", plan.name()},
                          {"run_id", run},
                          {"version", fmt::format("{}", assignment_.id.round)},
                          {"factors", "A of the run, B of this device alone"}});
  }
  if (written.ok()) {
    LogInfo(fmt::format("{}: this device's own adapter is {}", Name(), path));
  } else {
    LogWarning(fmt::format("{}: cannot write this device's own adapter: {}",
                           Name(), std::string(written.message())));
  }
}

}  // namespace edgetune
