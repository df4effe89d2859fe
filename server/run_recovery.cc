// How a Run comes to be: from a submitted plan, or from its rows and blobs.

#include <fmt/format.h>

#include <utility>

#include "base/status.h"
#include "protos/plan_check.h"
#include "server/run.h"
#include "server/update_intake.h"

namespace edgetune {

using ClientState = Round::ClientState;

absl::StatusOr<std::unique_ptr<Run>> Run::Admit(Stores stores,
                                                const v1::Envelope& envelope,
                                                v1::TaskPlan plan,
                                                int64_t sequence,
                                                absl::Time now, Batch& batch) {
  std::unique_ptr<Run> run(new Run(stores, std::move(plan)));
  run->row_.run_id = Sha256Bytes(envelope.payload());
  run->row_.sequence = sequence;
  run->row_.plan = envelope.SerializeAsString();
  run->row_.submitted_ms = absl::ToUnixMillis(now);
  run->plan_envelope_ = envelope;
  EDGETUNE_RETURN_IF_ERROR(
      run->models_.PublishInitial(run->plan_, run->id(), now, batch));
  run->Say(now,
           fmt::format("submitted: \"{}\", {} rounds of {} clients, the "
                       "coordinator sees each update",
                       run->plan_.name(), run->plan_.rounds().count(),
                       run->plan_.rounds().cohort()),
           batch);
  run->StartRound(now);
  return run;
}

absl::StatusOr<std::unique_ptr<Run>> Run::Recover(Stores stores,
                                                  StoredRun stored,
                                                  absl::Time now,
                                                  Batch& batch) {
  v1::Envelope envelope;
  if (!envelope.ParseFromString(stored.row.plan)) {
    return absl::DataLossError(fmt::format("run {}: its plan is unreadable",
                                           ShortId(stored.row.run_id)));
  }
  EDGETUNE_ASSIGN_OR_RETURN(v1::TaskPlan plan, ParsePlan(envelope.payload()));
  std::unique_ptr<Run> run(new Run(stores, std::move(plan)));
  run->plan_envelope_ = std::move(envelope);
  run->row_ = std::move(stored.row);
  run->sessions_ = std::move(stored.sessions);
  run->models_.Restore(std::move(stored.versions),
                       std::move(stored.optimizer_state));
  run->measures_ = std::move(stored.measures);
  run->events_ = std::move(stored.events);
  run->dirty_ = false;
  if (run->HasEnded()) return run;
  if (run->row_.manifest.empty()) {
    run->StartRound(now);
    run->Say(now, run->RoundName() + ": selecting again after a restart",
             batch);
  } else {
    EDGETUNE_RETURN_IF_ERROR(run->ResumeRound(now, batch));
  }
  return run;
}

absl::Status Run::ResumeRound(absl::Time now, Batch& batch) {
  if (!manifest_.ParseFromString(row_.manifest)) {
    return absl::DataLossError(
        fmt::format("run {}: its manifest is unreadable", ShortId(id())));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RoundManifest manifest,
                            ParseManifest(manifest_.payload()));
  training_since_ = absl::FromUnixMillis(manifest.header().issued_ms());
  EDGETUNE_RETURN_IF_ERROR(RebuildSum(now, batch));
  std::map<std::string, ClientState> clients;
  for (const auto& [key, session] : sessions_) {
    const auto& [round, attempt, device] = key;
    if (round == row_.round && attempt == row_.attempt) {
      clients[device] = session.state;
    }
  }
  round_ = Round::Resume(RoundOptions(), clients,
                         absl::FromUnixMillis(manifest.deadline_ms()), now);
  Say(now,
      fmt::format("{}: continues after a restart, {} of {} clients reported",
                  RoundName(), round_->CountOf(ClientState::kReported),
                  clients.size()),
      batch);
  return absl::OkStatus();
}

// Sums are not durable; the updates behind them are.
absl::Status Run::RebuildSum(absl::Time now, Batch& batch) {
  if (IsEvaluation()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(sum_, MakeRoundAggregator(plan_, row_.round));
  for (auto& [key, session] : sessions_) {
    const auto& [round, attempt, device] = key;
    if (round != row_.round || attempt != row_.attempt ||
        session.state != ClientState::kReported) {
      continue;
    }
    const absl::Status folded = FoldUpdate(plan_, round, session.update_digest,
                                           session.weight, *blobs_, *sum_);
    if (folded.ok()) continue;
    // Only what is truly missing or damaged is given up; after any other
    // failure the next start tries again.
    if (!absl::IsNotFound(folded) && !absl::IsInvalidArgument(folded) &&
        !absl::IsDataLoss(folded)) {
      return Prefix(folded, "reading an accepted update");
    }
    session.state = ClientState::kLost;
    session.detail = "its accepted update is gone from the server's disk";
    SaveSession(id(), key, session, batch);
    Say(now,
        fmt::format("{}: lost {}: {}", RoundName(), device, session.detail),
        batch, true);
  }
  return absl::OkStatus();
}

}  // namespace edgetune
