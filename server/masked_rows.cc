#include "server/masked_rows.h"

#include <utility>

#include "base/status.h"
#include "server/row_reader.h"
#include "storage/blob_store.h"

namespace edgetune {

using Record = secagg::SecAggServer::Record;

const char kMaskedTables[] = R"sql(
ALTER TABLE runs ADD COLUMN forgiven INTEGER NOT NULL DEFAULT 0;
-- Accepted key advertisements (CohortEntry) of the open attempt.
CREATE TABLE secagg_keys (
  run_id BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
  device TEXT NOT NULL, entry BLOB NOT NULL,
  PRIMARY KEY (run_id, device)) WITHOUT ROWID;
-- Masking sessions of the open attempt: who is in them (Cohort).
CREATE TABLE secagg_groups (
  run_id BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
  grp INTEGER NOT NULL, cohort BLOB NOT NULL,
  PRIMARY KEY (run_id, grp)) WITHOUT ROWID;
-- What happened in them. `digest` is SHA-256 over kind, phase, member, bytes.
CREATE TABLE secagg_records (
  run_id BLOB NOT NULL, grp INTEGER NOT NULL, number INTEGER NOT NULL,
  kind INTEGER NOT NULL, phase INTEGER NOT NULL, member INTEGER NOT NULL,
  bytes BLOB NOT NULL, digest BLOB NOT NULL,
  PRIMARY KEY (run_id, grp, number)) WITHOUT ROWID;
-- Devices that may have contributed from the adapter of the open round.
CREATE TABLE secagg_spent (
  run_id BLOB NOT NULL, device TEXT NOT NULL, times INTEGER NOT NULL,
  PRIMARY KEY (run_id, device)) WITHOUT ROWID;
CREATE TABLE secagg_overrides (
  run_id BLOB NOT NULL, digest BLOB NOT NULL, envelope BLOB NOT NULL,
  PRIMARY KEY (run_id, digest)) WITHOUT ROWID;
CREATE TABLE secagg_receipts (
  run_id BLOB NOT NULL, round INTEGER NOT NULL, digest BLOB NOT NULL,
  PRIMARY KEY (run_id, round)) WITHOUT ROWID;
-- What devices signed that contradicts itself (Contradiction).
CREATE TABLE secagg_evidence (
  run_id BLOB NOT NULL, device TEXT NOT NULL, document BLOB NOT NULL);
CREATE TABLE secagg_scores (
  run_id BLOB NOT NULL, device TEXT NOT NULL, points INTEGER NOT NULL,
  PRIMARY KEY (run_id, device)) WITHOUT ROWID;
)sql";

namespace {

constexpr int64_t kMostRecords = 1 << 30;

std::string RecordDigest(const Record& record) {
  std::string all;
  for (const uint32_t value :
       {static_cast<uint32_t>(record.kind), static_cast<uint32_t>(record.phase),
        record.index}) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      all.push_back(static_cast<char>(value >> shift));
    }
  }
  return Sha256Bytes(all + record.bytes);
}

template <typename Message>
void Parse(const std::string& bytes, RowReader& in, Message& message) {
  if (!message.ParseFromString(bytes)) in.Fail();
}

absl::Status LoadKeys(Transaction& transaction, const std::string& run_id,
                      StoredMasking& stored) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query(
          "SELECT device, entry FROM secagg_keys WHERE run_id = ?",
          {Bytes(run_id)}));
  for (const Row& row : rows) {
    RowReader in("secagg_keys", row);
    const std::string device = in.Text();
    Parse(in.Bytes(), in, stored.keys[device]);
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  return absl::OkStatus();
}

absl::Status LoadRecords(Transaction& transaction, const std::string& run_id,
                         uint32_t group, StoredGroup& stored) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query(
          "SELECT number, kind, phase, member, bytes, digest"
          " FROM secagg_records WHERE run_id = ? AND grp = ? ORDER BY number",
          {Bytes(run_id), Integer(group)}));
  for (const Row& row : rows) {
    RowReader in("secagg_records", row);
    Record record;
    const uint32_t number = in.Small(kMostRecords);
    if (in.status().ok()) stored.next_number = number + 1;
    record.kind = static_cast<Record::Kind>(in.Small(1));
    record.phase = static_cast<secagg::SecAggServer::Phase>(in.Small(7));
    record.index = in.Small();
    record.bytes = in.Bytes();
    stored.damaged_end =
        in.Bytes() != RecordDigest(record) || !in.status().ok();
    if (stored.damaged_end) {
      stored.damaged = true;
    } else {
      stored.records.push_back(std::move(record));
    }
  }
  return absl::OkStatus();
}

absl::Status LoadGroups(Transaction& transaction, const std::string& run_id,
                        StoredMasking& stored) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows, transaction.Query("SELECT grp, cohort FROM secagg_groups"
                                         " WHERE run_id = ? ORDER BY grp",
                                         {Bytes(run_id)}));
  for (const Row& row : rows) {
    RowReader in("secagg_groups", row);
    const uint32_t group = in.Small();
    if (group != stored.groups.size()) in.Fail();
    v1::Cohort cohort;
    Parse(in.Bytes(), in, cohort);
    EDGETUNE_RETURN_IF_ERROR(in.status());
    StoredGroup& out = stored.groups.emplace_back();
    out.cohort = {cohort.entries().begin(), cohort.entries().end()};
    EDGETUNE_RETURN_IF_ERROR(LoadRecords(transaction, run_id, group, out));
  }
  return absl::OkStatus();
}

absl::Status LoadCounts(Transaction& transaction, const char* sql,
                        const std::string& run_id,
                        std::map<std::string, uint32_t>& counts) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto rows,
                            transaction.Query(sql, {Bytes(run_id)}));
  for (const Row& row : rows) {
    RowReader in("secagg_spent or secagg_scores", row);
    const std::string device = in.Text();
    counts[device] = in.Small();
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  return absl::OkStatus();
}

absl::Status LoadDocuments(Transaction& transaction, const std::string& run_id,
                           StoredMasking& stored) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto overrides,
      transaction.Query(
          "SELECT envelope FROM secagg_overrides WHERE run_id = ?",
          {Bytes(run_id)}));
  for (const Row& row : overrides) {
    RowReader in("secagg_overrides", row);
    Parse(in.Bytes(), in, stored.overrides.emplace_back());
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto receipts,
      transaction.Query("SELECT digest FROM secagg_receipts WHERE run_id = ?"
                        " ORDER BY round",
                        {Bytes(run_id)}));
  for (const Row& row : receipts) {
    RowReader in("secagg_receipts", row);
    stored.receipts.push_back(in.Digest());
    EDGETUNE_RETURN_IF_ERROR(in.status());
  }
  return absl::OkStatus();
}

}  // namespace

void SaveKeys(const AttemptId& id, const std::string& device,
              const v1::CohortEntry& entry, Batch& batch) {
  batch.writes.push_back(
      {"INSERT INTO secagg_keys VALUES (?,?,?,?,?)",
       {Bytes(id.run_id), Integer(id.round), Integer(id.attempt), device,
        Bytes(entry.SerializeAsString())}});
}

void SaveGroup(const AttemptId& id, uint32_t group,
               const std::vector<v1::CohortEntry>& cohort, Batch& batch) {
  v1::Cohort all;
  *all.mutable_entries() = {cohort.begin(), cohort.end()};
  batch.writes.push_back(
      {"INSERT INTO secagg_groups VALUES (?,?,?,?,?)",
       {Bytes(id.run_id), Integer(id.round), Integer(id.attempt),
        Integer(group), Bytes(all.SerializeAsString())}});
}

void SaveRecord(const AttemptId& id, uint32_t group, uint32_t number,
                const Record& record, Batch& batch) {
  batch.writes.push_back(
      {"INSERT INTO secagg_records VALUES (?,?,?,?,?,?,?,?)",
       {Bytes(id.run_id), Integer(group), Integer(number),
        Integer(static_cast<uint64_t>(record.kind)),
        Integer(static_cast<uint64_t>(record.phase)), Integer(record.index),
        Bytes(record.bytes), Bytes(RecordDigest(record))}});
}

void ForgetAttempt(const AttemptId& id, Batch& batch) {
  for (const char* sql : {"DELETE FROM secagg_keys WHERE run_id = ?",
                          "DELETE FROM secagg_groups WHERE run_id = ?",
                          "DELETE FROM secagg_records WHERE run_id = ?"}) {
    batch.writes.push_back({sql, {Bytes(id.run_id)}});
  }
}

void SaveSpent(const std::string& run_id, const std::string& device,
               uint32_t times, Batch& batch) {
  batch.writes.push_back({"INSERT OR REPLACE INTO secagg_spent VALUES (?,?,?)",
                          {Bytes(run_id), device, Integer(times)}});
}

void ForgetSpent(const std::string& run_id, Batch& batch) {
  batch.writes.push_back(
      {"DELETE FROM secagg_spent WHERE run_id = ?", {Bytes(run_id)}});
}

void SaveOverride(const std::string& run_id, const v1::Envelope& envelope,
                  Batch& batch) {
  batch.writes.push_back(
      {"INSERT OR REPLACE INTO secagg_overrides VALUES (?,?,?)",
       {Bytes(run_id), Bytes(Sha256Bytes(envelope.payload())),
        Bytes(envelope.SerializeAsString())}});
}

void SaveReceipt(const std::string& run_id, uint32_t round,
                 const Digest& digest, Batch& batch) {
  batch.writes.push_back(
      {"INSERT INTO secagg_receipts VALUES (?,?,?)",
       {Bytes(run_id), Integer(round), Bytes(DigestBytes(digest))}});
}

void SaveEvidence(const std::string& run_id, const std::string& device,
                  const std::string& document, Batch& batch) {
  batch.writes.push_back({"INSERT INTO secagg_evidence VALUES (?,?,?)",
                          {Bytes(run_id), device, Bytes(document)}});
}

void SaveScore(const std::string& run_id, const std::string& device,
               uint32_t points, Batch& batch) {
  batch.writes.push_back({"INSERT OR REPLACE INTO secagg_scores VALUES (?,?,?)",
                          {Bytes(run_id), device, Integer(points)}});
}

absl::StatusOr<StoredMasking> LoadMasking(Transaction& transaction,
                                          const std::string& run_id) {
  StoredMasking stored;
  EDGETUNE_RETURN_IF_ERROR(LoadKeys(transaction, run_id, stored));
  EDGETUNE_RETURN_IF_ERROR(LoadGroups(transaction, run_id, stored));
  EDGETUNE_RETURN_IF_ERROR(LoadCounts(
      transaction, "SELECT device, times FROM secagg_spent WHERE run_id = ?",
      run_id, stored.spent));
  EDGETUNE_RETURN_IF_ERROR(LoadCounts(
      transaction, "SELECT device, points FROM secagg_scores WHERE run_id = ?",
      run_id, stored.scores));
  EDGETUNE_RETURN_IF_ERROR(LoadDocuments(transaction, run_id, stored));
  return stored;
}

}  // namespace edgetune
