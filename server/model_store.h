#ifndef EDGETUNE_SERVER_MODEL_STORE_H_
#define EDGETUNE_SERVER_MODEL_STORE_H_

#include <cstdint>
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

// The adapter versions of one run, oldest first, and the server optimiser's
// moments. Publish puts the blob first and adds version, card and moments to
// the batch, whose one transaction also advances the run's round. Life:
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
  void Restore(std::vector<ModelVersion> versions, std::string optimizer_state);

  // The next version: current adapter + server step of `combined`. DataLoss:
  // the step is not finite (nothing changed). Other codes: storage failed.
  absl::Status Publish(const v1::TaskPlan& plan, const std::string& run_id,
                       const Aggregator::Result& combined, absl::Time now,
                       Batch& batch);

  const std::vector<ModelVersion>& versions() const { return versions_; }
  const ModelVersion& current() const { return versions_.back(); }

 private:
  absl::StatusOr<ParameterVector> Step(const v1::TaskPlan& plan,
                                       const Aggregator::Result& combined,
                                       std::string* next_state) const;
  absl::Status Append(v1::ModelCard card, absl::Time now, Batch& batch);

  BlobStore* const blobs_;
  const SigningKey* const round_key_;
  std::vector<ModelVersion> versions_;
  std::string optimizer_state_;
};

// Of what stays with a model for good: cards and receipts.
inline constexpr absl::Duration kRecordLife = absl::Hours(24 * 365 * 10);

v1::DocumentHeader MakeHeader(absl::Time issued, absl::Time expires);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_MODEL_STORE_H_
