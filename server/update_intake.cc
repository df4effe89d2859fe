#include "server/update_intake.h"

#include <fmt/format.h>

#include <cmath>

#include "aggregation/plan_strategy.h"
#include "base/parameters.h"
#include "base/status.h"
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
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckReport(const v1::TaskPlan& plan, v1::RoundManifest::Kind kind,
                         const v1::Report& report) {
  EDGETUNE_RETURN_IF_ERROR(CheckEvaluation(plan, report));
  if (kind == v1::RoundManifest::EVAL) {
    if (report.update_digest().empty() && report.weight() == 0) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        "an evaluation report carries an update, wanted none");
  }
  return CheckWeight(report.weight(), plan.rounds().weight_cap());
}

absl::StatusOr<std::unique_ptr<Aggregator>> MakeRoundAggregator(
    const v1::TaskPlan& plan, uint32_t round) {
  EDGETUNE_ASSIGN_OR_RETURN(const CombineOptions options,
                            CombineOptionsOf(plan, round));
  return MakeAggregator(options);
}

absl::Status FoldUpdate(const v1::TaskPlan& plan, uint32_t round,
                        const std::string& update_digest, double weight,
                        const BlobStore& blobs, Aggregator& aggregator) {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(update_digest));
  auto blob = blobs.Get(digest);
  if (absl::IsNotFound(blob.status())) {
    return absl::InvalidArgumentError(
        "no blob with the reported digest was uploaded");
  }
  EDGETUNE_RETURN_IF_ERROR(blob.status());
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            UpdateLayout(plan, round));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector update,
                            ParseParameters((*blob)->bytes(), layout.size()));
  return aggregator.Accumulate(
      update, plan.rounds().weights() == "equal" ? 1.0 : weight);
}

std::string ReportFingerprint(const v1::Report& report) {
  v1::Report decisive;
  decisive.set_update_digest(report.update_digest());
  decisive.set_weight(report.weight());
  decisive.set_nll_sum(report.nll_sum());
  decisive.set_tokens(report.tokens());
  return Sha256Bytes(decisive.SerializeAsString());
}

}  // namespace edgetune
