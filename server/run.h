#ifndef EDGETUNE_SERVER_RUN_H_
#define EDGETUNE_SERVER_RUN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/update_fold.h"
#include "base/parameters.h"
#include "privacy/identity/roster_file.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "server/batch.h"
#include "server/masked_round.h"
#include "server/model_store.h"
#include "server/round.h"
#include "server/run_rows.h"

namespace edgetune {

// One submitted plan and its life: Queued -> Running -> Finished, Failed or
// Stopped; at most one Round at a time, `count` training rounds and one
// closing evaluation. Feeds its Round with events and does what it answers:
// rows and messages go to the batch, nothing is sent or committed here.
//
// Life: Admit (a new plan) or Recover (after a restart), then any of the
// event methods with a `now` that never falls; Tick first. One thread. Blobs
// and key are borrowed. After batch.failure is set the run must be dropped.
class Run {
 public:
  struct Stores {
    BlobStore* blobs;
    const SigningKey* round_key;
    // The newest one; null: this server has none, and masked runs wait.
    std::function<std::shared_ptr<const PublishedRoster>()> roster;
  };
  // `envelope` was verified, `plan` is its payload, its blobs are here.
  static absl::StatusOr<std::unique_ptr<Run>> Admit(
      Stores stores, const v1::Envelope& envelope, v1::TaskPlan plan,
      int64_t sequence, absl::Time now, Batch& batch);
  static absl::StatusOr<std::unique_ptr<Run>> Recover(Stores stores,
                                                      StoredRun stored,
                                                      absl::Time now,
                                                      Batch& batch);

  const std::string& id() const { return row_.run_id; }
  const v1::TaskPlan& plan() const { return plan_; }
  const RunRow& row() const { return row_; }
  // SHA-256 of the newest adapter's blob.
  std::string CurrentAdapter() const {
    return DigestBytes(models_.current().adapter);
  }
  bool HasEnded() const { return row_.ended_ms != 0; }
  v1::RunStatus Status() const;
  // Whether people were shown something else since the last call.
  bool TakeChanged();
  absl::Time NextTimer() const;

  // --- time, devices, operators
  void Tick(absl::Time now, Batch& batch);
  bool IsSelecting() const;
  // How many of the idle devices it will take within seconds.
  size_t Reserved() const;
  // Offers idle devices; returns those taken, none or a whole cohort. `turn`
  // orders runs by when they last took devices.
  std::vector<std::string> Offer(std::vector<std::string> idle, size_t busy,
                                 int64_t turn, absl::Time now, Batch& batch);
  bool IsPaused() const {
    return row_.state == v1::RunStatus::PAUSED_NEEDS_OVERRIDE;
  }
  // Of a paused run: goes on when enough of the idle devices have not
  // contributed yet; takes none.
  void OfferWhilePaused(std::vector<std::string> idle, absl::Time now,
                        Batch& batch);
  void StreamUp(const std::string& device, absl::Time now, Batch& batch);
  void StreamDown(const std::string& device, absl::Time now, Batch& batch);
  void Deny(const std::string& device, absl::Time now, Batch& batch);
  void Stop(absl::Time now, Batch& batch);
  // `envelope` was verified and names this run and its current adapter.
  void Override(const v1::Envelope& envelope, absl::Time now, Batch& batch);

  // --- what a device says about a session of this run
  bool HasOpen(const std::string& device) const;
  size_t CountOpen() const;
  bool IsCurrent(const v1::SessionKey& key) const;
  void HandleAccepted(const std::string& device, const v1::SessionKey& key);
  void HandleProgress(const std::string& device, const v1::Progress& progress);
  void HandleDeclined(const std::string& device, const v1::Declined& declined,
                      absl::Time now, Batch& batch);
  void HandleReport(const std::string& device, const v1::Report& report,
                    absl::Time now, Batch& batch);
  // The device says hello as if it had no session: if this one was masking, it
  // lost the secrets and is out; whether that was so.
  bool LeaveIfMasking(const std::string& device, absl::Time now, Batch& batch);
  void HandleSecAgg(const std::string& device, const v1::ClientSecAgg& message,
                    absl::Time now, Batch& batch);
  // What became of a session that is not open.
  void AnswerEnded(const std::string& device, const v1::SessionKey& key,
                   Batch& batch);

  // --- data plane
  // Base parts, and adapter and control variate of the round in training.
  bool Serves(const Digest& digest) const;
  // Whether removing the blob would take something from this run.
  bool Refers(const Digest& digest) const;
  // FailedPrecondition: late. InvalidArgument: no update of this run.
  absl::Status CheckUpload(const std::string& device,
                           const v1::UploadKey& key) const;
  // Whether that is the upload which the session announced last; it was
  // checked.
  bool IsAnnounced(const std::string& device, const v1::UploadKey& key) const;
  // Checks, and records that the upload begins; the name of its partial, once
  // the batch is committed. ResourceExhausted: too many for one session.
  absl::StatusOr<std::string> Announce(const std::string& device,
                                       const v1::UploadKey& key, Batch& batch);
  std::string PartialName(const std::string& device) const;
  // Whether a partial of this name is some run's; whether an open session of
  // this run may go on with it.
  static bool IsUpdatePartial(std::string_view name);
  bool AwaitsPartial(const std::string& name) const;
  void CountDownload(const Digest& digest, uint64_t bytes);
  void CountUpload(uint64_t bytes);
  // Adds the run's row when it differs from the last one written.
  void Save(Batch& batch);

 private:
  Run(Stores stores, v1::TaskPlan plan);

  // run_recovery.cc
  absl::Status ResumeRound(absl::Time now, Batch& batch);
  absl::Status RebuildSum(absl::Time now, Batch& batch);
  absl::Status ResumeMasking(std::vector<StoredGroup> groups, absl::Time now,
                             Batch& batch);

  // run.cc: rounds
  void DrawAmong(std::vector<std::string>& idle) const;
  Round::Options RoundOptions() const;
  bool IsEvaluation() const;
  void StartRound(absl::Time now);
  void Apply(const Round::Event& event, absl::Time now, Batch& batch);
  void Perform(const Round::Action& action, absl::Time now, Batch& batch);
  void Assign(const std::vector<std::string>& devices, absl::Time now,
              Batch& batch);
  // Of the round's updates.
  absl::StatusOr<std::unique_ptr<UpdateFold>> MakeFold() const;
  absl::Status SignManifest(absl::Time now);
  void Finish(absl::Time now, Batch& batch);
  // How much of a step its rank keeps.
  std::string KeptText(const Aggregator::Result& combined) const;
  void FailStep(const absl::Status& status, absl::Time now, Batch& batch);
  void Commit(absl::Time now, Batch& batch);
  void Abandon(const std::string& reason, absl::Time now, Batch& batch);
  void End(v1::RunStatus::State state, std::string detail, absl::Time now,
           Batch& batch);
  // Records what the round's reports say of the incoming adapter.
  std::string RecordMeasure(Batch& batch);
  // Of rounds before the last: who asks for one of these is told that there is
  // none.
  void ForgetSessions(Batch& batch);  // run_sessions.cc
  void CleanUp(Batch& batch);         // run_blobs.cc

  // run_masking.cc: plans that mask
  bool Masks() const;
  v1::RoundManifest::Kind Kind() const;
  absl::StatusOr<MaskedShape> Shape() const;
  uint32_t AllowedContributions() const;
  bool IsSpent(const std::string& device) const;
  std::vector<std::string> Maskable(std::vector<std::string> idle);
  bool IsSpentOut(bool while_selecting) const;
  void Pause(const std::string& reason, absl::Time now, Batch& batch);
  void GoOn(absl::Time now);
  absl::Status AddMaskingTerms(v1::RoundManifest& manifest);
  absl::StatusOr<MaskedRound::Options> MaskedOptions() const;
  // After a restart: the roster of the open attempt, if it is the newest still.
  void AdoptRoster();
  bool InMasking(const std::string& device) const;
  bool ExpectsMasked(const std::string& device, const v1::UploadKey& key) const;
  // Whether somebody has sent one of the two keys already.
  bool HasKeyOf(const v1::CohortEntry& entry) const;
  void HandleAdvertise(const std::string& device, const v1::AdvertiseKeys& keys,
                       absl::Time now, Batch& batch);
  bool HasUpload(const std::string& device, const v1::MaskedInput& input,
                 absl::Time now, Batch& batch);
  void BeginMasking(absl::Time now, Batch& batch);
  void LeaveMasking(const std::string& device, const std::string& why,
                    absl::Time now, Batch& batch);
  void AfterMasked(absl::Time now, Batch& batch);
  void EndMasking(bool committed, const std::string& reason, absl::Time now,
                  Batch& batch);

  // run_masked_step.cc
  void FinishMasked(absl::Time now, Batch& batch);
  absl::Status StepMasked(absl::Time now, Batch& batch);
  absl::Status PublishReceipt(Batch& batch);

  // run_sessions.cc: clients
  // Whose updates are in the adapter, where devices keep vectors of their own.
  void RecordCounted(Batch& batch);
  void CloseSession(const Round::Action& action, Round::ClientState state,
                    absl::Time now, Batch& batch);
  void TellClosed(const Round::Action& action, const std::string& activity,
                  absl::Time now, Batch& batch);
  void AnswerReportAgain(const std::string& device, const v1::Report& report,
                         Session& session, absl::Time now, Batch& batch);
  void SendOutcome(const std::string& device, const v1::SessionKey& key,
                   v1::Outcome::Result result, std::string_view detail,
                   Batch& batch) const;
  void SendAssignment(const std::string& device, Batch& batch) const;
  v1::SessionKey CurrentKey() const;
  SessionId IdOf(const std::string& device) const;
  // Those of the open round and attempt: a long run has many more.
  auto CurrentSessions() const {
    return std::ranges::subrange(
        sessions_.lower_bound({row_.round, row_.attempt, ""}),
        sessions_.lower_bound({row_.round, row_.attempt + 1, ""}));
  }
  Session* Find(const std::string& device, const v1::SessionKey& key);
  // run_blobs.cc
  static std::string_view CurrentUpload(const Session& session);

  void Say(absl::Time now, std::string text, Batch& batch,
           bool warning = false);
  std::string RoundName() const;
  // Of what a client uploads in this round; 0: nothing.
  size_t UpdateBytes() const;

  const v1::TaskPlan plan_;
  const Stores stores_;
  BlobStore* const blobs_;
  RunRow row_;
  v1::Envelope plan_envelope_;
  const SigningKey* const round_key_;
  ModelStore models_;
  std::map<SessionId, Session> sessions_;
  std::vector<v1::Measure> measures_;
  std::vector<v1::RunEvent> events_;
  std::map<std::string, CountedSession> in_adapter_;  // by device

  std::optional<Round> round_;  // while the run has not ended
  v1::Envelope manifest_;       // of the round in training
  absl::Time training_since_;
  std::unique_ptr<UpdateFold> sum_;
  // --- of a plan that masks
  StoredMasking masking_;  // but for its groups, which masked_ holds
  std::shared_ptr<const PublishedRoster> roster_;  // of the open attempt
  std::unique_ptr<MaskedRound> masked_;            // once all keys are here
  v1::Measure masked_measure_;                     // of the last sum
  std::set<std::string> benched_;                  // sit out the next attempt
  std::set<std::string> down_;     // sent keys, then lost their stream
  size_t held_back_ = 0;           // idle devices that are spent
  std::set<std::string> counted_;  // as spent, in this attempt
  std::set<std::string> left_;     // after they sent their keys
  // Set when the round is given up for good: how the run ends.
  std::optional<std::pair<v1::RunStatus::State, std::string>> ending_;
  bool changed_ = true;  // for people
  bool dirty_ = true;    // the row
  // What UpdateBytes found for a round in the clear: the plan's layout has
  // hundreds of tensors, and each upload asks.
  mutable std::optional<std::pair<uint32_t, size_t>> clear_bytes_;
};

// A short name of a run for people: the first 8 hex digits of its id.
std::string ShortId(std::string_view run_id);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RUN_H_
