#ifndef EDGETUNE_CLIENT_PARTICIPATION_H_
#define EDGETUNE_CLIENT_PARTICIPATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "client/assignment.h"
#include "client/base_models.h"
#include "client/local_data.h"
#include "client/own_vector_store.h"
#include "client/session_store.h"
#include "client/transfer.h"
#include "client/transport.h"
#include "client/update_pipeline.h"
#include "config/daemon_files.h"
#include "training/memory_prediction.h"
#include "training/trainer.h"

namespace edgetune {

// The local data of the plan at hand, tokenised once and kept while plans ask
// for the same; and how that plan fits the device's memory. One thread.
struct DataCache {
  std::string key;
  LocalData data;
  std::string fitted;  // id of the run that `choice` is for
  MemoryChoice choice;
};

// A result that has not left the device: the next attempt of the same round
// from the same adapter contributes it instead of training again.
struct Unspent {
  std::string key;
  Contribution result;
};

// What the work of all sessions shares; everything outlives a Participation.
struct Workshop {
  Transport* transport;
  BlobStore* blobs;
  SessionStore* sessions;
  OwnVectorStore* own_vectors;
  BaseModels* models;
  DataCache* data;
  const ReadData* read_data;
  std::optional<Unspent>* unspent;
  const ClientFile* file;
  const Clock* clock;
  const StopToken* stop;
  Transfer::Pause pause;  // false once `stop` is set
};

// The long steps of one session, in the order Fetch, Evaluate, Train, Upload
// (an EVAL session ends after Evaluate, a restored one begins with Upload).
// Each runs to its end or until Workshop::stop, then Cancelled; Keep follows it
// when it is OK. Belongs to the work thread; report() is read after a step has
// returned. A step's error says
// why the device cannot take part: kData, kDiskFull and the like concern the
// device, others this session alone.
class Participation {
 public:
  // `report` of a session that was evaluated, or whose update is durable,
  // before a restart.
  Participation(const Workshop& workshop, VerifiedAssignment assignment,
                std::optional<v1::Report> report);

  absl::Status Fetch();
  absl::Status Evaluate();
  absl::Status Train();
  absl::Status Upload();
  // What the step made becomes durable, on the thread that tells the client of
  // it. A device that goes off-line within a step has nothing of it, however
  // quick the processor was that simulates it.
  absl::Status Keep();

  // Masked sessions: after Evaluate or Train what is to be masked, rounded
  // anew; then, when the session asks for it, UploadMasked of what it made.
  absl::StatusOr<secagg::RingVector> MakeInput(RandomSource& random) const;
  void SetMasked(std::string masked) { masked_ = std::move(masked); }
  absl::Status UploadMasked();
  // Drops the session's own blobs: adapter, control variate and update.
  void Discard();

  const v1::Report& report() const { return report_; }
  const VerifiedAssignment& assignment() const { return assignment_; }

 private:
  absl::Status FetchAdapter(Transfer& transfer);
  // Into memory, for a step that needs it and drops it again: a simulated fleet
  // has many devices between two steps.
  absl::Status LoadAdapter();
  // Those of plans with control variates (base/control_variates.h) do nothing
  // for others. The server's variate; then c - c_i; then the next c_i, which is
  // durable before anything of the result is.
  absl::Status FetchControl(Transfer& transfer);
  absl::Status LoadCorrection();
  absl::Status MakeControl(const TrainResult& result);
  // The closing evaluation is the last that a device hears of a run.
  absl::Status ForgetControl();
  // Those of plans whose devices have factors of their own (KeepsOwnFactor) do
  // nothing for others. The device's own in place of the published ones, once
  // it has some; what training made of it; the whole as an adapter, written.
  absl::Status LoadOwnFactor();
  absl::Status TakeOwnFactor();
  void WriteOwnAdapter();
  // A next vector of its own, of either kind, becomes durable.
  absl::Status KeepOwnVector();
  absl::Status LoadData(const v1::TaskPlan& plan);
  // Where the plan asks teachers and the device has one: what it says of the
  // training examples goes with them.
  absl::Status AskOwnTeacher(const v1::TaskPlan& plan);
  absl::Status LoadTrainer();
  absl::Status FitMemory();
  absl::Status EvaluateAdapter();
  absl::Status EvaluateHeldOut();
  // Where the plan weighs updates by it (rounds.fairness_q).
  absl::Status MeasureIncomingLoss();
  absl::StatusOr<TrainResult> RunTrainer();
  std::string UnspentKey() const;
  bool HasUnspent() const;
  // As far as the session needs it: what is trained is not trained again.
  absl::Status TakeResult(const TrainResult& result);
  absl::Status MakeUpdate(const TrainResult& result);
  // What of it the coordinator may know.
  TrainProgress ToldProgress(TrainProgress at) const;
  void SendProgress(v1::Progress::Phase phase, const TrainProgress& at);
  std::string Name() const;  // "run 1a2b3c4d round 2"

  const Workshop workshop_;
  const VerifiedAssignment assignment_;
  int64_t rank_ = 0;            // that this device trains
  Adapter adapter_;             // what it trains of the incoming one
  ParameterVector correction_;  // c - c_i, while it trains
  ParameterVector next_own_;    // c_i or B, until Keep
  bool unsaved_ = false;        // report_ says more than is durable
  bool trained_ = false;        // since the last Keep
  v1::Report report_;
  Contribution result_;  // of a masked session
  std::string masked_;
  absl::Time last_progress_ = absl::InfinitePast();
};

// "run 1a2b3c4d round 2", as all log lines begin.
std::string SessionText(const SessionId& id);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_PARTICIPATION_H_
