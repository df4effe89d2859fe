#include "server/model_store.h"

#include <fmt/format.h>

#include <utility>

#include "aggregation/plan_strategy.h"
#include "aggregation/server_optimizer.h"
#include "base/control_variates.h"
#include "base/parameter_views.h"
#include "base/status.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "server/run_rows.h"

namespace edgetune {
v1::DocumentHeader MakeHeader(absl::Time issued, absl::Time expires) {
  v1::DocumentHeader header;
  header.set_version(1);
  header.set_issued_ms(absl::ToUnixMillis(issued));
  header.set_expires_ms(absl::ToUnixMillis(expires));
  return header;
}

absl::Status ModelStore::PublishInitial(const v1::TaskPlan& plan,
                                        const std::string& run_id,
                                        absl::Time now, Batch& batch) {
  v1::ModelCard card;
  card.set_plan_digest(run_id);
  card.set_adapter_digest(plan.lora().initial_digest());
  if (UsesControls(plan)) {
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                              UpdateLayout(plan, 0));
    EDGETUNE_ASSIGN_OR_RETURN(
        state_.control,
        blobs_->Put(ParameterBytes(ParameterVector(layout.size()))));
  }
  return Append(std::move(card), now, batch);
}

void ModelStore::Restore(std::vector<ModelVersion> versions,
                         ServerState state) {
  versions_ = std::move(versions);
  state_ = std::move(state);
}

absl::StatusOr<ParameterVector> ModelStore::ReadCurrent(
    const v1::TaskPlan& plan) const {
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, blobs_->Get(current().adapter));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, AdapterLayout(plan));
  return ParseParameters(blob->bytes(), layout.size());
}

absl::StatusOr<ParameterVector> ModelStore::Step(
    const v1::TaskPlan& plan, const Aggregator::Result& combined,
    std::string* next_state) const {
  EDGETUNE_ASSIGN_OR_RETURN(ParameterVector adapter, ReadCurrent(plan));
  EDGETUNE_ASSIGN_OR_RETURN(const ServerOptimizerOptions options,
                            ServerOptimizerOptionsOf(plan.rounds()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto optimizer,
      MakeServerOptimizer(options, adapter.size(), state_.optimizer));
  // Version r was made by r rounds: the next step is that of round r.
  EDGETUNE_ASSIGN_OR_RETURN(const auto ranges,
                            StepRanges(plan, current().number));
  EDGETUNE_RETURN_IF_ERROR(optimizer->Step(combined.mean, ranges, adapter));
  *next_state = optimizer->SaveState();
  return adapter;
}

absl::StatusOr<std::optional<Digest>> ModelStore::NextControl(
    const v1::TaskPlan& plan, const Aggregator::Result& combined) const {
  if (!state_.control.has_value() ||
      current().number + 1 >= plan.rounds().count()) {
    return std::nullopt;
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, blobs_->Get(*state_.control));
  EDGETUNE_ASSIGN_OR_RETURN(
      const ParameterVector control,
      ParseParameters(blob->bytes(), combined.mean.size()));
  const ParameterVector next =
      NextServerControl(control, combined.mean,
                        {.way = ControlWay(plan.train()),
                         .share = static_cast<double>(combined.updates) /
                                  static_cast<double>(plan.fleet().devices())});
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(next, "the control variate"));
  return blobs_->Put(ParameterBytes(next));
}

absl::Status ModelStore::Publish(const v1::TaskPlan& plan,
                                 const std::string& run_id,
                                 const Aggregator::Result& combined,
                                 absl::Time now, Batch& batch) {
  std::string state;
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector adapter,
                            Step(plan, combined, &state));
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            blobs_->Put(ParameterBytes(adapter)));
  EDGETUNE_ASSIGN_OR_RETURN(const std::optional<Digest> control,
                            NextControl(plan, combined));
  v1::ModelCard card;
  card.set_plan_digest(run_id);
  card.set_version(current().number + 1);
  card.set_adapter_digest(DigestBytes(digest));
  card.set_prev_card_digest(Sha256Bytes(current().card.payload()));
  card.set_updates(static_cast<uint32_t>(combined.updates));
  card.set_weight_sum(combined.weight_sum);
  if (state_.control.has_value()) {
    batch.unneeded.push_back(*state_.control);
    SaveUnneeded(*state_.control, batch);
  }
  state_ = {std::move(state), control};
  return Append(std::move(card), now, batch);
}

absl::Status ModelStore::Append(v1::ModelCard card, absl::Time now,
                                Batch& batch) {
  *card.mutable_header() = MakeHeader(now, now + kRecordLife);
  ModelVersion version;
  version.number = card.version();
  EDGETUNE_ASSIGN_OR_RETURN(version.adapter,
                            DigestFromBytes(card.adapter_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(
      version.card,
      SignDocument(DocumentUse::kCard, card.SerializeAsString(), *round_key_));
  SaveVersion(card.plan_digest(), version, state_, batch);
  versions_.push_back(std::move(version));
  return absl::OkStatus();
}

}  // namespace edgetune
