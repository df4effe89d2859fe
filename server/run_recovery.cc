// How a Run comes to be: from a submitted plan, or from its rows and blobs.

#include <fmt/format.h>

#include <algorithm>
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
           fmt::format("submitted: \"{}\", {} rounds of {} clients, {}",
                       run->plan_.name(), run->plan_.rounds().count(),
                       run->plan_.rounds().cohort(),
                       run->Masks() ? "updates arrive masked: the coordinator "
                                      "sees sums only"
                                    : "the coordinator sees each update"),
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
                       std::move(stored.server_state));
  run->in_adapter_ = std::move(stored.counted);
  run->measures_ = std::move(stored.measures);
  run->events_ = std::move(stored.events);
  std::vector<StoredGroup> groups = std::move(stored.masking.groups);
  run->masking_ = std::move(stored.masking);
  run->dirty_ = false;
  if (run->HasEnded() || run->IsPaused()) return run;
  if (run->row_.manifest.empty()) {
    run->StartRound(now);
    run->Say(now, run->RoundName() + ": selecting again after a restart",
             batch);
  } else {
    EDGETUNE_RETURN_IF_ERROR(run->ResumeRound(now, batch));
    if (run->Masks()) {
      EDGETUNE_RETURN_IF_ERROR(
          run->ResumeMasking(std::move(groups), now, batch));
    }
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
  if (!Masks()) EDGETUNE_RETURN_IF_ERROR(RebuildSum(now, batch));
  std::map<std::string, ClientState> clients;
  for (const auto& [key, session] : sessions_) {
    const auto& [round, attempt, device] = key;
    if (round == row_.round && attempt == row_.attempt) {
      clients[device] = session.state;
    }
  }
  const int64_t deadline_ms = manifest.has_masking()
                                  ? manifest.masking().keys_by_ms()
                                  : manifest.deadline_ms();
  round_ = Round::Resume(RoundOptions(), clients,
                         absl::FromUnixMillis(deadline_ms), now);
  Say(now,
      fmt::format("{}: continues after a restart, {} of {} clients reported",
                  RoundName(), round_->CountOf(ClientState::kReported),
                  clients.size()),
      batch);
  return absl::OkStatus();
}

absl::Status Run::ResumeMasking(std::vector<StoredGroup> groups, absl::Time now,
                                Batch& batch) {
  for (const auto& [device, keys] : masking_.keys) {
    if (sessions_[IdOf(device)].state == ClientState::kLost) {
      left_.insert(device);
    } else if (groups.empty()) {
      down_.insert(device);
    }
  }
  if (groups.empty()) return absl::OkStatus();
  round_->ResumeFinishing();
  EDGETUNE_ASSIGN_OR_RETURN(MaskedRound::Options options, MaskedOptions());
  EDGETUNE_ASSIGN_OR_RETURN(
      MaskedRound round, MaskedRound::Restore(std::move(options), masking_.keys,
                                              std::move(groups), now, batch));
  masked_ = std::make_unique<MaskedRound>(std::move(round));
  // Rows of those were written together with the session's.
  counted_ = masked_->spent();
  AfterMasked(now, batch);
  return batch.failure;
}

// Sums are not durable; the updates behind them are.
absl::Status Run::RebuildSum(absl::Time now, Batch& batch) {
  if (IsEvaluation()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(sum_, MakeFold());
  for (auto& [key, session] : sessions_) {
    const auto& [round, attempt, device] = key;
    if (round != row_.round || attempt != row_.attempt ||
        session.state != ClientState::kReported) {
      continue;
    }
    const absl::Status folded = FoldUpdate(
        plan_, {session.update_digest, session.terms}, *blobs_, *sum_);
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
