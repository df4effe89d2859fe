// What a Participation does with control variates (train.objective
// "scaffold").

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "base/control_variates.h"
#include "base/parameter_views.h"
#include "base/status.h"
#include "client/participation.h"
#include "protos/local_work.h"

namespace edgetune {
namespace {

// Under masking larger coordinates are clamped: what is summed is what the
// device's own variate must follow from.
ParameterVector SentOf(const ParameterVector& delta,
                       const std::optional<MaskedTerms>& masking) {
  ParameterVector sent = delta;
  if (!masking.has_value()) return sent;
  const auto bound = static_cast<float>(masking->shape.bound);
  for (float& value : sent) value = std::clamp(value, -bound, bound);
  return sent;
}

}  // namespace

absl::Status Participation::FetchControl(Transfer& transfer) {
  if (!UsesControls(assignment_.plan) || !assignment_.train) {
    return absl::OkStatus();
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest digest,
      DigestFromBytes(assignment_.manifest.control_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const uint64_t bytes,
      transfer.Fetch(digest,
                     assignment_.manifest.coordinates() * sizeof(float)));
  report_.set_adapter_bytes_down(report_.adapter_bytes_down() + bytes);
  return absl::OkStatus();
}

absl::Status Participation::LoadCorrection() {
  if (!UsesControls(assignment_.plan)) return absl::OkStatus();
  const std::string& run_id = assignment_.id.run_id;
  const size_t coordinates = assignment_.manifest.coordinates();
  absl::Status settled = workshop_.own_vectors->Settle(
      run_id, assignment_.counted, workshop_.clock->Now());
  if (absl::IsFailedPrecondition(settled)) {
    // Taking part would spoil the server's variate for good.
    settled = absl::FailedPreconditionError(fmt::format(
        "{}: a device that lost its state cannot go on in a run of objective "
        "scaffold",
        std::string(settled.message())));
  }
  EDGETUNE_RETURN_IF_ERROR(settled);
  EDGETUNE_ASSIGN_OR_RETURN(ParameterVector own,
                            workshop_.own_vectors->Read(run_id, coordinates));
  own.resize(coordinates);  // zeros before its first
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest digest,
      DigestFromBytes(assignment_.manifest.control_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, workshop_.blobs->Get(digest));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector server,
                            ParseParameters(blob->bytes(), coordinates));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(server, "the server's control variate"));
  correction_ = ControlCorrection(server, own);
  return absl::OkStatus();
}

absl::Status Participation::MakeControl(const TrainResult& result) {
  if (!UsesControls(assignment_.plan)) return absl::OkStatus();
  next_own_ =
      NextOwnControl(correction_, SentOf(result.delta, assignment_.masking),
                     ControlWay(assignment_.plan.train()));
  correction_ = ParameterVector();
  return CheckFinite(next_own_, "this device's control variate");
}

absl::Status Participation::KeepOwnVector() {
  if (next_own_.empty()) return absl::OkStatus();
  return workshop_.own_vectors->Keep(
      assignment_.id, std::exchange(next_own_, {}),
      absl::FromUnixMillis(assignment_.plan.header().expires_ms()));
}

absl::Status Participation::ForgetControl() {
  if (!UsesControls(assignment_.plan) || assignment_.train) {
    return absl::OkStatus();
  }
  return workshop_.own_vectors->Forget(assignment_.id.run_id);
}

}  // namespace edgetune
