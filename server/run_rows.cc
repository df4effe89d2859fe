#include "server/run_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "server/row_reader.h"
#include "storage/blob_store.h"

namespace edgetune {
namespace {

absl::StatusOr<RunRow> ReadRun(const Row& row) {
  RowReader in("runs", row);
  RunRow run;
  run.run_id = in.Bytes();
  run.sequence = in.Integer();
  run.plan = in.Bytes();
  const int state = static_cast<int>(in.Small(1000));
  if (v1::RunStatus::State_IsValid(state)) {
    run.state = static_cast<v1::RunStatus::State>(state);
  } else {
    in.Fail();
  }
  run.detail = in.Text();
  run.round = in.Small();
  run.attempt = in.Small();
  run.forgiven = in.Small();
  run.turn = in.Integer();
  run.submitted_ms = in.Integer();
  run.ended_ms = in.Integer();
  run.bytes_down = in.Integer();
  run.bytes_up = in.Integer();
  run.base_bytes_down = in.Integer();
  run.events = in.Integer();
  run.manifest = in.Bytes();
  EDGETUNE_RETURN_IF_ERROR(in.status());
  return run;
}

constexpr size_t kDigestBytes = 32;

std::vector<std::string> SplitDigests(RowReader& in) {
  const std::string bytes = in.Bytes();
  std::vector<std::string> digests;
  if (bytes.size() % kDigestBytes != 0) in.Fail();
  for (size_t at = 0; at < bytes.size(); at += kDigestBytes) {
    digests.push_back(bytes.substr(at, kDigestBytes));
  }
  return digests;
}

std::string JoinDigests(const std::vector<std::string>& digests) {
  std::string bytes;
  for (const std::string& digest : digests) bytes += digest;
  return bytes;
}

absl::Status LoadSessions(Transaction& transaction, StoredRun& run) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT round, attempt, device, state, fingerprint,"
                        " update_digest, weight, nll_sum, tokens, detail,"
                        " announced, train_steps, incoming_loss, rank"
                        " FROM sessions WHERE run_id = ?",
                        {Bytes(run.row.run_id)}));
  for (const Row& row : rows) {
    RowReader in("sessions", row);
    const uint32_t round = in.Small(), attempt = in.Small();
    SessionId id(round, attempt, in.Text());
    Session session;
    session.state = static_cast<Round::ClientState>(
        in.Small(static_cast<int>(Round::ClientState::kCancelled)));
    session.fingerprint = in.Bytes();
    session.update_digest = in.Bytes();
    session.terms.weight = in.Real();
    session.nll_sum = in.Real();
    session.tokens = in.Integer();
    session.detail = in.Text();
    session.announced = SplitDigests(in);
    session.terms.steps = in.Integer();
    session.terms.incoming_loss = in.Real();
    session.terms.rank = in.Small();
    EDGETUNE_RETURN_IF_ERROR(in.status());
    run.sessions.emplace(std::move(id), std::move(session));
  }
  return absl::OkStatus();
}

absl::Status LoadVersions(Transaction& transaction, StoredRun& run) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT card, optimizer_state, control FROM versions"
                        " WHERE run_id = ? ORDER BY version",
                        {Bytes(run.row.run_id)}));
  for (const Row& row : rows) {
    RowReader in("versions", row);
    ModelVersion version;
    v1::ModelCard card;
    if (!version.card.ParseFromString(in.Bytes()) ||
        !card.ParseFromString(version.card.payload())) {
      in.Fail();
    }
    run.server_state.optimizer = in.Bytes();
    const std::string control = in.Bytes();
    const auto digest = DigestFromBytes(control);
    if (!control.empty() && !digest.ok()) in.Fail();
    run.server_state.control.reset();
    if (digest.ok()) run.server_state.control = *digest;
    EDGETUNE_RETURN_IF_ERROR(in.status());
    version.number = card.version();
    EDGETUNE_ASSIGN_OR_RETURN(version.adapter,
                              DigestFromBytes(card.adapter_digest()));
    run.versions.push_back(std::move(version));
  }
  if (!run.versions.empty()) return absl::OkStatus();
  return absl::DataLossError("table versions: a run without its first adapter");
}

absl::Status LoadCounted(Transaction& transaction, StoredRun& run) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT device, round, attempt FROM counted"
                        " WHERE run_id = ?",
                        {Bytes(run.row.run_id)}));
  for (const Row& row : rows) {
    RowReader in("counted", row);
    CountedSession& session = run.counted[in.Text()];
    session.round = in.Small();
    session.attempt = in.Small();
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  return absl::OkStatus();
}

absl::Status LoadMeasures(Transaction& transaction, StoredRun& run) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT version, nll_sum, tokens, clients"
                        " FROM measures WHERE run_id = ? ORDER BY version",
                        {Bytes(run.row.run_id)}));
  for (const Row& row : rows) {
    RowReader in("measures", row);
    v1::Measure measure;
    measure.set_version(in.Small());
    measure.set_nll_sum(in.Real());
    measure.set_tokens(in.Integer());
    measure.set_clients(in.Small());
    EDGETUNE_RETURN_IF_ERROR(in.status());
    run.measures.push_back(std::move(measure));
  }
  return absl::OkStatus();
}

absl::Status LoadEvents(Transaction& transaction, StoredRun& run) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query(
          "SELECT time_ms, text FROM events WHERE run_id = ? ORDER BY number",
          {Bytes(run.row.run_id)}));
  for (const Row& row : rows) {
    RowReader in("events", row);
    v1::RunEvent event;
    event.set_time_ms(in.Integer());
    event.set_text(in.Text());
    EDGETUNE_RETURN_IF_ERROR(in.status());
    run.events.push_back(std::move(event));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& CoordinatorMigrations() {
  static const auto* const migrations = new std::vector<std::string>{R"sql(
-- One row a submitted plan. `manifest` is empty unless a round is in training.
CREATE TABLE runs (
  run_id BLOB PRIMARY KEY, sequence INTEGER NOT NULL, plan BLOB NOT NULL,
  state INTEGER NOT NULL, detail TEXT NOT NULL, round INTEGER NOT NULL,
  attempt INTEGER NOT NULL, turn INTEGER NOT NULL,
  submitted_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
  bytes_down INTEGER NOT NULL, bytes_up INTEGER NOT NULL,
  base_bytes_down INTEGER NOT NULL, events INTEGER NOT NULL,
  manifest BLOB NOT NULL) WITHOUT ROWID;
-- One row a client asked in this round and the one before (answers to late
-- and repeated reports). `state` is Round::ClientState.
CREATE TABLE sessions (
  run_id BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
  device TEXT NOT NULL, state INTEGER NOT NULL, fingerprint BLOB NOT NULL,
  update_digest BLOB NOT NULL, weight REAL NOT NULL, nll_sum REAL NOT NULL,
  tokens INTEGER NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY (run_id, round, attempt, device)) WITHOUT ROWID;
-- Published adapters. Only the newest row holds the optimiser's moments.
CREATE TABLE versions (
  run_id BLOB NOT NULL, version INTEGER NOT NULL, card BLOB NOT NULL,
  optimizer_state BLOB NOT NULL, PRIMARY KEY (run_id, version));
CREATE TABLE measures (
  run_id BLOB NOT NULL, version INTEGER NOT NULL, nll_sum REAL NOT NULL,
  tokens INTEGER NOT NULL, clients INTEGER NOT NULL,
  PRIMARY KEY (run_id, version)) WITHOUT ROWID;
CREATE TABLE events (
  run_id BLOB NOT NULL, number INTEGER NOT NULL, time_ms INTEGER NOT NULL,
  text TEXT NOT NULL, PRIMARY KEY (run_id, number)) WITHOUT ROWID;
-- Update blobs of ended rounds that are still to be removed.
CREATE TABLE unneeded (digest BLOB PRIMARY KEY) WITHOUT ROWID;
)sql", kMaskedTables,
                                                                     R"sql(
-- Digests of the uploads that a session began, 32 bytes each, the newest last.
ALTER TABLE sessions ADD COLUMN announced BLOB NOT NULL DEFAULT x'';
)sql",
                                                                     R"sql(
-- RosterGuard::Mark. At most one row, key 1.
CREATE TABLE roster_mark (
  key INTEGER PRIMARY KEY, version INTEGER NOT NULL, payload BLOB NOT NULL);
)sql",
                                                                     R"sql(
-- What a report says of its update beside the weight (UpdateTerms).
ALTER TABLE sessions ADD COLUMN train_steps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN incoming_loss REAL NOT NULL DEFAULT 0.0;
)sql",
                                                                     R"sql(
-- Digest of the server's control variate, or empty; only of the newest row.
ALTER TABLE versions ADD COLUMN control BLOB NOT NULL DEFAULT x'';
-- The last session of a device whose update is in an adapter; of runs with
-- control variates.
CREATE TABLE counted (
  run_id BLOB NOT NULL, device TEXT NOT NULL, round INTEGER NOT NULL,
  attempt INTEGER NOT NULL, PRIMARY KEY (run_id, device)) WITHOUT ROWID;
)sql",
                                                                     R"sql(
-- Rank slices that a device trained; 0: all (UpdateTerms).
ALTER TABLE sessions ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
)sql"};
  return *migrations;
}

void SaveRun(const RunRow& row, Batch& batch) {
  batch.writes.push_back(
      {"INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
       {Bytes(row.run_id), row.sequence, Bytes(row.plan),
        Integer(static_cast<uint64_t>(row.state)), row.detail,
        Integer(row.round), Integer(row.attempt), row.turn, row.submitted_ms,
        row.ended_ms, Integer(row.bytes_down), Integer(row.bytes_up),
        Integer(row.base_bytes_down), row.events, Bytes(row.manifest),
        Integer(row.forgiven)}});
}

void SaveSession(const std::string& run_id, const SessionId& id,
                 const Session& session, Batch& batch) {
  const auto& [round, attempt, device] = id;
  batch.writes.push_back(
      {"INSERT OR REPLACE INTO sessions VALUES "
       "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
       {Bytes(run_id), Integer(round), Integer(attempt), device,
        Integer(static_cast<uint64_t>(session.state)),
        Bytes(session.fingerprint), Bytes(session.update_digest),
        session.terms.weight, session.nll_sum, Integer(session.tokens),
        session.detail, Bytes(JoinDigests(session.announced)),
        session.terms.steps, session.terms.incoming_loss, session.terms.rank}});
}

void DropSessionsBefore(const std::string& run_id, uint32_t round,
                        Batch& batch) {
  batch.writes.push_back({"DELETE FROM sessions WHERE run_id = ? AND round < ?",
                          {Bytes(run_id), Integer(round)}});
}

void SaveVersion(const std::string& run_id, const ModelVersion& version,
                 const ServerState& state, Batch& batch) {
  batch.writes.push_back(
      {"UPDATE versions SET optimizer_state = x'', control = x''"
       " WHERE run_id = ?",
       {Bytes(run_id)}});
  batch.writes.push_back(
      {"INSERT INTO versions VALUES (?,?,?,?,?)",
       {Bytes(run_id), Integer(version.number),
        Bytes(version.card.SerializeAsString()), Bytes(state.optimizer),
        Bytes(state.control ? DigestBytes(*state.control) : "")}});
}

void SaveCounted(const std::string& run_id, const std::string& device,
                 const CountedSession& session, Batch& batch) {
  batch.writes.push_back({"INSERT OR REPLACE INTO counted VALUES (?,?,?,?)",
                          {Bytes(run_id), device, Integer(session.round),
                           Integer(session.attempt)}});
}

void SaveMeasure(const std::string& run_id, const v1::Measure& measure,
                 Batch& batch) {
  batch.writes.push_back(
      {"INSERT OR REPLACE INTO measures VALUES (?,?,?,?,?)",
       {Bytes(run_id), Integer(measure.version()), measure.nll_sum(),
        Integer(measure.tokens()), Integer(measure.clients())}});
}

void SaveEvent(const std::string& run_id, int64_t number,
               const v1::RunEvent& event, Batch& batch) {
  batch.writes.push_back(
      {"INSERT INTO events VALUES (?,?,?,?)",
       {Bytes(run_id), number, int64_t{event.time_ms()}, event.text()}});
  batch.writes.push_back({"DELETE FROM events WHERE run_id = ? AND number <= ?",
                          {Bytes(run_id), number - kEventsKept}});
}

void SaveUnneeded(const Digest& digest, Batch& batch) {
  batch.writes.push_back({"INSERT OR IGNORE INTO unneeded VALUES (?)",
                          {Bytes(DigestBytes(digest))}});
}

void ForgetUnneeded(const Digest& digest, Batch& batch) {
  batch.writes.push_back(
      {"DELETE FROM unneeded WHERE digest = ?", {Bytes(DigestBytes(digest))}});
}

absl::StatusOr<RosterGuard::Mark> LoadRosterMark(Transaction& transaction) {
  RosterGuard::Mark mark;
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT version, payload FROM roster_mark"));
  for (const Row& row : rows) {
    RowReader in("roster_mark", row);
    mark.version = static_cast<uint64_t>(in.Integer());
    mark.payload = in.Digest();
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  return mark;
}

absl::Status SaveRosterMark(const RosterGuard::Mark& mark,
                            Transaction& transaction) {
  return transaction.Execute(
      "INSERT OR REPLACE INTO roster_mark VALUES (1,?,?)",
      {Integer(mark.version), Bytes(DigestBytes(mark.payload))});
}

absl::StatusOr<std::vector<StoredRun>> LoadRuns(Transaction& transaction) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query(
          "SELECT run_id, sequence, plan, state, detail, round, attempt,"
          " forgiven, turn,"
          " submitted_ms, ended_ms, bytes_down, bytes_up, base_bytes_down,"
          " events, manifest FROM runs ORDER BY sequence"));
  std::vector<StoredRun> runs;
  for (const Row& row : rows) {
    StoredRun run;
    EDGETUNE_ASSIGN_OR_RETURN(run.row, ReadRun(row));
    EDGETUNE_RETURN_IF_ERROR(LoadSessions(transaction, run));
    EDGETUNE_RETURN_IF_ERROR(LoadVersions(transaction, run));
    EDGETUNE_RETURN_IF_ERROR(LoadCounted(transaction, run));
    EDGETUNE_RETURN_IF_ERROR(LoadMeasures(transaction, run));
    EDGETUNE_RETURN_IF_ERROR(LoadEvents(transaction, run));
    EDGETUNE_ASSIGN_OR_RETURN(run.masking,
                              LoadMasking(transaction, run.row.run_id));
    runs.push_back(std::move(run));
  }
  return runs;
}

absl::StatusOr<std::vector<Digest>> LoadUnneeded(Transaction& transaction) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto rows,
                            transaction.Query("SELECT digest FROM unneeded"));
  std::vector<Digest> digests;
  for (const Row& row : rows) {
    RowReader in("unneeded", row);
    digests.push_back(in.Digest());
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  return digests;
}

}  // namespace edgetune
