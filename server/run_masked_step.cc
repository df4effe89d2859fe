// What a Run does with the sums of a masked round: the step, and the receipt.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "server/run.h"

namespace edgetune {

using EventKind = Round::Event::Kind;

namespace {

// Sums of stochastically rounded values may end a step beyond their bounds.
constexpr double kLaneSlack = 1e-3;

double LaneOf(const secagg::SumResult& sum, LaneUse use) {
  const auto it = sum.lanes.find(use);
  return it == sum.lanes.end() ? 0 : it->second;
}

}  // namespace

void Run::FinishMasked(absl::Time now, Batch& batch) {
  const size_t survivors = masked_->survivors().size();
  if (survivors < plan_.rounds().quorum()) {
    const std::string failure = masked_->failure();
    return Apply(
        {EventKind::kStepFailed, "",
         failure.empty() ? fmt::format("{} survivors, {} wanted", survivors,
                                       plan_.rounds().quorum())
                         : failure},
        now, batch);
  }
  absl::Status status = StepMasked(now, batch);
  if (status.ok()) status = PublishReceipt(batch);
  if (status.ok()) return Apply({EventKind::kStepMade}, now, batch);
  FailStep(status, now, batch);
}

absl::Status Run::StepMasked(absl::Time now, Batch& batch) {
  EDGETUNE_ASSIGN_OR_RETURN(const MaskedShape shape, Shape());
  const secagg::SumResult sum = secagg::DecodeSum(shape, masked_->sums());
  const auto survivors = static_cast<double>(masked_->survivors().size());
  masked_measure_.set_nll_sum(LaneOf(sum, LaneUse::kNll));
  masked_measure_.set_tokens(static_cast<uint64_t>(
      std::max(0.0, std::round(LaneOf(sum, LaneUse::kTokens)))));
  masked_measure_.set_clients(static_cast<uint32_t>(survivors));
  if (IsEvaluation()) return absl::OkStatus();
  const bool weighted = plan_.rounds().weights() == "examples";
  const double weight = weighted ? LaneOf(sum, LaneUse::kWeight) : survivors;
  if (!(weight > 0) || weight > survivors * (1 + kLaneSlack)) {
    return absl::DataLossError(fmt::format(
        "the weights sum to {}, wanted above 0 and at most {} clients", weight,
        survivors));
  }
  Aggregator::Result combined;
  combined.mean = sum.coordinates;
  for (float& value : combined.mean) {
    value = static_cast<float>(value / weight);
  }
  combined.updates = static_cast<int64_t>(survivors);
  combined.weight_sum =
      weighted ? weight * plan_.rounds().weight_cap() : weight;
  const double clamped = LaneOf(sum, LaneUse::kClamped) / survivors;
  if (clamped > 0.5 / static_cast<double>(shape.coordinates)) {
    Say(now,
        fmt::format("{}: {:.2g} % of the coordinates were clamped to "
                    "secagg.bound = {}",
                    RoundName(), clamped * 100, shape.bound),
        batch);
  }
  return models_.Publish(plan_, id(), combined, now, batch);
}

absl::Status Run::PublishReceipt(Batch& batch) {
  EDGETUNE_ASSIGN_OR_RETURN(const MaskedShape shape, Shape());
  v1::RoundReceipt receipt;
  // Dated as its round, not by the clock: made again after a crash it is the
  // same blob, and nothing is left behind.
  *receipt.mutable_header() =
      MakeHeader(training_since_, training_since_ + kRecordLife);
  receipt.set_plan_digest(id());
  *receipt.mutable_manifest() = manifest_;
  receipt.set_base_digest(plan_.model().digest());
  for (v1::GroupReceipt& group : masked_->receipts()) {
    *receipt.add_groups() = std::move(group);
  }
  receipt.set_survivors(static_cast<uint32_t>(masked_->survivors().size()));
  if (!IsEvaluation()) {
    receipt.set_result_digest(DigestBytes(models_.current().adapter));
  }
  if (!masking_.receipts.empty()) {
    receipt.set_prev_receipt_digest(DigestBytes(masking_.receipts.back()));
  }
  receipt.set_bits(shape.bits);
  receipt.set_bound(shape.bound);
  receipt.set_scale(shape.ScaleOf(shape.bound));
  receipt.set_n_max(shape.n_max);
  if (roster_ != nullptr) *receipt.mutable_roster() = roster_->envelope;
  EDGETUNE_ASSIGN_OR_RETURN(
      const v1::Envelope envelope,
      SignDocument(DocumentUse::kReceipt, receipt.SerializeAsString(),
                   *round_key_));
  const std::string bytes = envelope.SerializeAsString();
  EDGETUNE_ASSIGN_OR_RETURN(
      masking_.receipts.emplace_back(),
      blobs_->Put(
          {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  SaveReceipt(id(), row_.round, masking_.receipts.back(), batch);
  return absl::OkStatus();
}

}  // namespace edgetune
