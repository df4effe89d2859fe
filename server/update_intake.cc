#include "server/update_intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "aggregation/plan_strategy.h"
#include "base/parameter_views.h"
#include "base/status.h"
#include "protos/full_training.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

absl::Status CheckWeight(double weight, double cap) {
  if (std::isfinite(weight) && weight > 0 && weight <= cap) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("weight is {}, wanted above 0 and at most {}", weight, cap));
}

absl::Status CheckEvaluation(const v1::TaskPlan& plan,
                             const v1::Report& report) {
  if (!std::isfinite(report.nll_sum()) || report.nll_sum() < 0) {
    return absl::InvalidArgumentError(fmt::format(
        "nll_sum is {}, wanted finite and not negative", report.nll_sum()));
  }
  const uint64_t most = uint64_t{plan.rounds().eval_examples()} *
                        uint64_t{plan.data().max_length()};
  if (report.tokens() > most) {
    return absl::InvalidArgumentError(fmt::format(
        "{} evaluated tokens, wanted at most {}", report.tokens(), most));
  }
  // Of images alone.
  const uint64_t told = TrainsAll(plan) ? report.tokens() : 0;
  if (report.correct() > told) {
    return absl::InvalidArgumentError(fmt::format(
        "{} right answers, wanted at most {}", report.correct(), told));
  }
  return absl::OkStatus();
}

// The steps follow from the examples, and those are the weight unless the cap
// cut it.
absl::Status CheckSteps(const v1::TaskPlan& plan, const v1::Report& report) {
  uint64_t least = 0, most = 0;
  if (plan.train().epochs() > 0) {
    const double weight = report.weight();
    least = StepsOf(plan.train(), static_cast<uint64_t>(std::ceil(weight)));
    const bool capped = weight >= plan.rounds().weight_cap();
    most = capped ? kMostSteps : std::min(least, kMostSteps);
  }
  if (report.train_steps() >= least && report.train_steps() <= most) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{} local steps, wanted {} to {} for a weight of {}",
                  report.train_steps(), least, most, report.weight()));
}

absl::Status CheckIncomingLoss(const v1::TaskPlan& plan,
                               const v1::Report& report) {
  const bool asked = plan.rounds().fairness_q() > 0;
  const double least = asked ? kLeastIncomingLoss : 0;
  const double most = asked ? kLargestIncomingLoss : 0;
  const double loss = report.incoming_loss();
  if (loss >= least && loss <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("incoming_loss is {}, wanted {} to {}", loss, least, most));
}

absl::Status CheckRank(const v1::TaskPlan& plan, const v1::Report& report) {
  const uint32_t most = TrainsSlices(plan) ? plan.lora().rank() : 0;
  if (report.rank() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("rank is {}, wanted at most {}", report.rank(), most));
}

}  // namespace

absl::Status CheckReport(const v1::TaskPlan& plan, v1::RoundManifest::Kind kind,
                         const v1::Report& report) {
  EDGETUNE_RETURN_IF_ERROR(CheckEvaluation(plan, report));
  if (kind == v1::RoundManifest::EVAL) {
    if (report.update_digest().empty() && report.weight() == 0 &&
        report.train_steps() == 0 && report.incoming_loss() == 0 &&
        report.rank() == 0) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        "an evaluation report carries an update, wanted none");
  }
  EDGETUNE_RETURN_IF_ERROR(
      CheckWeight(report.weight(), plan.rounds().weight_cap()));
  EDGETUNE_RETURN_IF_ERROR(CheckSteps(plan, report));
  EDGETUNE_RETURN_IF_ERROR(CheckRank(plan, report));
  return CheckIncomingLoss(plan, report);
}

absl::StatusOr<std::unique_ptr<Aggregator>> MakeRoundAggregator(
    const v1::TaskPlan& plan, uint32_t round) {
  EDGETUNE_ASSIGN_OR_RETURN(const CombineOptions options,
                            CombineOptionsOf(plan, round));
  return MakeAggregator(options);
}

absl::StatusOr<std::unique_ptr<UpdateFold>> MakeRoundFold(
    const v1::TaskPlan& plan, uint32_t round, ParameterVector incoming) {
  // A copy of the plan: a fold may make aggregators as long as it lives.
  return MakeUpdateFold(
      plan, [plan, round] { return MakeRoundAggregator(plan, round); },
      {.adapter = std::move(incoming), .round = round});
}

absl::Status FoldUpdate(const v1::TaskPlan& plan, const ReportedUpdate& update,
                        const BlobStore& blobs, UpdateFold& fold) {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(update.digest));
  auto blob = blobs.Get(digest);
  if (absl::IsNotFound(blob.status())) {
    return absl::InvalidArgumentError(
        "no blob with the reported digest was uploaded");
  }
  EDGETUNE_RETURN_IF_ERROR(blob.status());
  const std::span<const uint8_t> bytes = (*blob)->bytes();
  // The fold knows how many there must be.
  EDGETUNE_ASSIGN_OR_RETURN(
      const std::span<const float> values,
      ViewParameters(bytes, bytes.size() / sizeof(float)));
  UpdateTerms terms = update.terms;
  if (plan.rounds().weights() == "equal") terms.weight = 1;
  return fold.Add(values, terms);
}

std::string ReportFingerprint(const v1::Report& report) {
  v1::Report decisive;
  decisive.set_update_digest(report.update_digest());
  decisive.set_weight(report.weight());
  decisive.set_nll_sum(report.nll_sum());
  decisive.set_tokens(report.tokens());
  decisive.set_train_steps(report.train_steps());
  decisive.set_incoming_loss(report.incoming_loss());
  decisive.set_rank(report.rank());
  return Sha256Bytes(decisive.SerializeAsString());
}

}  // namespace edgetune
