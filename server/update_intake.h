#ifndef EDGETUNE_SERVER_UPDATE_INTAKE_H_
#define EDGETUNE_SERVER_UPDATE_INTAKE_H_

// What stands between a client's report and the sum. Pure functions over the
// plan, the report and the uploaded blob; a refusal changes nothing.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/aggregator.h"
#include "aggregation/update_fold.h"
#include "base/parameters.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "storage/blob_store.h"

namespace edgetune {

// The numbers of a report against its plan. InvalidArgument says which one is
// wrong, got and wanted: weight in (0, cap] for TRAIN and 0 for EVAL, digest
// 32 bytes or empty, nll_sum finite and not negative, tokens at most what
// eval_examples of max_length hold; train_steps what so many examples need
// where the plan says epochs, incoming_loss in its range where
// rounds.fairness_q asks for it, rank at most the plan's where devices may
// train slices, and these three 0 otherwise.
absl::Status CheckReport(const v1::TaskPlan& plan, v1::RoundManifest::Kind kind,
                         const v1::Report& report);

// An aggregator for one TRAIN round of the plan.
absl::StatusOr<std::unique_ptr<Aggregator>> MakeRoundAggregator(
    const v1::TaskPlan& plan, uint32_t round);

// The fold of that round's updates, around such aggregators; `incoming` as of
// MakeUpdateFold.
absl::StatusOr<std::unique_ptr<UpdateFold>> MakeRoundFold(
    const v1::TaskPlan& plan, uint32_t round, ParameterVector incoming = {});

// An update that a report names, and what the report says of it.
struct ReportedUpdate {
  std::string digest;  // of its blob
  UpdateTerms terms;
};

// Adds the blob of `update` with the plan's weighting to `fold`.
// InvalidArgument or DataLoss: no such blob, wrong length, NaN or Inf, beyond
// the bound.
absl::Status FoldUpdate(const v1::TaskPlan& plan, const ReportedUpdate& update,
                        const BlobStore& blobs, UpdateFold& fold);

// Tells two reports of one session apart: equal bytes, equal answer.
std::string ReportFingerprint(const v1::Report& report);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_UPDATE_INTAKE_H_
