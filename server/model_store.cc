#include "server/model_store.h"

#include <utility>

#include "aggregation/plan_strategy.h"
#include "aggregation/server_optimizer.h"
#include "base/status.h"
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
  return Append(std::move(card), now, batch);
}

void ModelStore::Restore(std::vector<ModelVersion> versions,
                         std::string optimizer_state) {
  versions_ = std::move(versions);
  optimizer_state_ = std::move(optimizer_state);
}

absl::StatusOr<ParameterVector> ModelStore::Step(
    const v1::TaskPlan& plan, const Aggregator::Result& combined,
    std::string* next_state) const {
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, blobs_->Get(current().adapter));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, AdapterLayout(plan));
  EDGETUNE_ASSIGN_OR_RETURN(ParameterVector adapter,
                            ParseParameters(blob->bytes(), layout.size()));
  EDGETUNE_ASSIGN_OR_RETURN(const ServerOptimizerOptions options,
                            ServerOptimizerOptionsOf(plan.rounds()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto optimizer,
      MakeServerOptimizer(options, layout.size(), optimizer_state_));
  // Version r was made by r rounds: the next step is that of round r.
  EDGETUNE_ASSIGN_OR_RETURN(const auto ranges,
                            UpdateRanges(plan, current().number));
  EDGETUNE_RETURN_IF_ERROR(optimizer->Step(combined.mean, ranges, adapter));
  *next_state = optimizer->SaveState();
  return adapter;
}

absl::Status ModelStore::Publish(const v1::TaskPlan& plan,
                                 const std::string& run_id,
                                 const Aggregator::Result& combined,
                                 absl::Time now, Batch& batch) {
  std::string state;
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector adapter,
                            Step(plan, combined, &state));
  const std::string bytes = SerializeParameters(adapter);
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest digest,
      blobs_->Put(
          {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  v1::ModelCard card;
  card.set_plan_digest(run_id);
  card.set_version(current().number + 1);
  card.set_adapter_digest(DigestBytes(digest));
  card.set_prev_card_digest(Sha256Bytes(current().card.payload()));
  card.set_updates(static_cast<uint32_t>(combined.updates));
  card.set_weight_sum(combined.weight_sum);
  optimizer_state_ = std::move(state);
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
  SaveVersion(card.plan_digest(), version, optimizer_state_, batch);
  versions_.push_back(std::move(version));
  return absl::OkStatus();
}

}  // namespace edgetune
