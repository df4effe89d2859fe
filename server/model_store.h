#ifndef EDGETUNE_SERVER_MODEL_STORE_H_
#define EDGETUNE_SERVER_MODEL_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/aggregator.h"
#include "base/parameters.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/envelope.h"
#include "protos/edgetune/v1/envelope.pb.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "server/batch.h"
#include "storage/blob_store.h"

namespace edgetune {

// One immutable adapter version: its blob and its signed card.
struct ModelVersion {
  uint32_t number = 0;
  Digest adapter = {};
  v1::Envelope card;
};

// What the step after the newest version needs besides; durable with it.
struct ServerState {
  std::string optimizer;  // ServerOptimizer::SaveState
  // Blob of the server's control variate (base/control_variates.h), as an
  // update of a round; only of plans with such, while rounds are left.
  std::optional<Digest> control;
};

// The adapter versions of one run, oldest first, and the server's state.
// Publish puts blobs first and adds version, card and state to the batch, whose
// one transaction also advances the run's round; the control variate before is
// unneeded then. Life:
// default-made empty; PublishInitial or Restore once; then Publish. One
// thread; blobs and key are borrowed.
class ModelStore {
 public:
  ModelStore(BlobStore* blobs, const SigningKey* round_key)
      : blobs_(blobs), round_key_(round_key) {}

  // Version 0: the submitter's adapter.
  absl::Status PublishInitial(const v1::TaskPlan& plan,
                              const std::string& run_id, absl::Time now,
                              Batch& batch);
  void Restore(std::vector<ModelVersion> versions, ServerState state);

  // The next version: current adapter + server step of `combined`. DataLoss:
  // the step is not finite (nothing changed). Other codes: storage failed.
  absl::Status Publish(const v1::TaskPlan& plan, const std::string& run_id,
                       const Aggregator::Result& combined, absl::Time now,
                       Batch& batch);

  // The newest adapter.
  absl::StatusOr<ParameterVector> ReadCurrent(const v1::TaskPlan& plan) const;

  const std::vector<ModelVersion>& versions() const { return versions_; }
  const ModelVersion& current() const { return versions_.back(); }
  // Of the next training round.
  const std::optional<Digest>& control() const { return state_.control; }

 private:
  absl::StatusOr<ParameterVector> Step(const v1::TaskPlan& plan,
                                       const Aggregator::Result& combined,
                                       std::string* next_state) const;
  // After the step of `combined`; none after the last round.
  absl::StatusOr<std::optional<Digest>> NextControl(
      const v1::TaskPlan& plan, const Aggregator::Result& combined) const;
  absl::Status Append(v1::ModelCard card, absl::Time now, Batch& batch);

  BlobStore* const blobs_;
  const SigningKey* const round_key_;
  std::vector<ModelVersion> versions_;
  ServerState state_;
};

// Of what stays with a model for good: cards and receipts.
inline constexpr absl::Duration kRecordLife = absl::Hours(24 * 365 * 10);

v1::DocumentHeader MakeHeader(absl::Time issued, absl::Time expires);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_MODEL_STORE_H_
