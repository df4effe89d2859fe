#include "client/masking_store.h"

#include <fmt/format.h>

#include <utility>

#include "base/status.h"
#include "client/session_store.h"
#include "storage/blob_store.h"

namespace edgetune {

using secagg::AbortError;

namespace {

absl::StatusOr<int64_t> IntegerOf(const std::vector<Row>& rows,
                                  int64_t otherwise) {
  if (rows.empty()) return otherwise;
  if (const int64_t* number = std::get_if<int64_t>(&rows[0][0])) return *number;
  return absl::DataLossError("the device's state holds an unreadable mark");
}

absl::Status CheckRosterVersion(Transaction& transaction, uint64_t version) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows, transaction.Query("SELECT version FROM roster_mark"));
  EDGETUNE_ASSIGN_OR_RETURN(const int64_t seen, IntegerOf(rows, 0));
  if (static_cast<int64_t>(version) < seen) {
    return AbortError(v1::BAD_ROSTER,
                      fmt::format("roster version {} is older than {}, which "
                                  "this device has seen",
                                  version, seen));
  }
  if (static_cast<int64_t>(version) == seen) return absl::OkStatus();
  EDGETUNE_RETURN_IF_ERROR(transaction.Execute("DELETE FROM roster_mark"));
  return transaction.Execute("INSERT INTO roster_mark VALUES (?)",
                             {static_cast<int64_t>(version)});
}

// The chain must hold the card that was the head when last seen.
absl::Status CheckChain(Transaction& transaction,
                        const MaskedTerms::History& history) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT version, digest FROM card_mark WHERE run_id=?",
                        {Blob{history.run_id}}));
  if (!rows.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(const int64_t version, IntegerOf(rows, 0));
    const Blob* digest = std::get_if<Blob>(&rows[0][1]);
    if (digest == nullptr || version < 0) {
      return absl::DataLossError("the device's state holds an unreadable mark");
    }
    if (static_cast<size_t>(version) >= history.cards.size() ||
        history.cards[version] != digest->bytes) {
      return AbortError(v1::REPLAY,
                        "the chain of adapters is not the one that this device "
                        "has seen");
    }
  }
  return transaction.Execute(
      "INSERT OR REPLACE INTO card_mark VALUES (?,?,?)",
      {Blob{history.run_id}, static_cast<int64_t>(history.cards.size() - 1),
       Blob{history.cards.back()}});
}

absl::Status CheckSpent(Transaction& transaction,
                        const MaskedTerms::History& history) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query(
          "SELECT COUNT(*) FROM spent WHERE run_id=? AND base=? AND adapter=? "
          "AND kind=?",
          {Blob{history.run_id}, Blob{history.base_digest},
           Blob{history.adapter_digest}, int64_t{history.kind}}));
  EDGETUNE_ASSIGN_OR_RETURN(const int64_t times, IntegerOf(rows, 0));
  if (times < int64_t{history.allowed}) return absl::OkStatus();
  return AbortError(
      v1::SPENT, fmt::format("this device has contributed {} times from this "
                             "adapter, {} allowed",
                             times, history.allowed));
}

}  // namespace

const char* MaskingStore::Migration() {
  return "CREATE TABLE roster_mark(version INTEGER NOT NULL);"
         "CREATE TABLE card_mark(run_id BLOB PRIMARY KEY, "
         "version INTEGER NOT NULL, digest BLOB NOT NULL);"
         "CREATE TABLE advertised(run_id BLOB NOT NULL, "
         "round INTEGER NOT NULL, attempt INTEGER NOT NULL, "
         "PRIMARY KEY(run_id, round, attempt));"
         "CREATE TABLE spent(run_id BLOB NOT NULL, base BLOB NOT NULL, "
         "adapter BLOB NOT NULL, kind INTEGER NOT NULL, "
         "session BLOB NOT NULL UNIQUE, spent_ms INTEGER NOT NULL);"
         "CREATE TABLE signed_sets(session BLOB PRIMARY KEY, "
         "run_id BLOB NOT NULL, round INTEGER NOT NULL, "
         "attempt INTEGER NOT NULL, document BLOB NOT NULL, "
         "signed_ms INTEGER NOT NULL);"
         "CREATE TABLE evidence(session BLOB NOT NULL, "
         "document BLOB NOT NULL, found_ms INTEGER NOT NULL);";
}

absl::Status MaskingStore::Admit(const MaskedTerms::History& history) {
  return database_->Run([&](Transaction& transaction) -> absl::Status {
    EDGETUNE_RETURN_IF_ERROR(
        CheckRosterVersion(transaction, history.roster_version));
    EDGETUNE_RETURN_IF_ERROR(CheckChain(transaction, history));
    return CheckSpent(transaction, history);
  });
}

absl::Status MaskingStore::MarkAdvertised(const SessionId& id) {
  return database_->Run([&](Transaction& transaction) {
    return transaction.Execute(
        "INSERT OR IGNORE INTO advertised VALUES (?,?,?)", KeyRow(id));
  });
}

absl::StatusOr<bool> MaskingStore::HasAdvertised(const SessionId& id) {
  bool found = false;
  EDGETUNE_RETURN_IF_ERROR(
      database_->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(
            const auto rows,
            transaction.Query("SELECT 1 FROM advertised WHERE run_id=? AND "
                              "round=? AND attempt=?",
                              KeyRow(id)));
        found = !rows.empty();
        return absl::OkStatus();
      }));
  return found;
}

absl::Status MaskingStore::Spend(const MaskedTerms::History& history,
                                 const Digest& session, absl::Time now) {
  return database_->Run([&](Transaction& transaction) -> absl::Status {
    // Asked again: what was true at the door must be true now.
    EDGETUNE_RETURN_IF_ERROR(CheckSpent(transaction, history));
    return transaction.Execute(
        "INSERT INTO spent VALUES (?,?,?,?,?,?)",
        {Blob{history.run_id}, Blob{history.base_digest},
         Blob{history.adapter_digest}, int64_t{history.kind},
         Blob{DigestBytes(session)}, absl::ToUnixMillis(now)});
  });
}

absl::Status MaskingStore::RememberSurvivors(const SessionId& id,
                                             const Digest& session,
                                             const std::string& document,
                                             absl::Time now) {
  return database_->Run([&](Transaction& transaction) {
    Row row = {Blob{DigestBytes(session)}};
    for (const Value& value : KeyRow(id)) row.push_back(value);
    row.push_back(Blob{document});
    row.emplace_back(absl::ToUnixMillis(now));
    return transaction.Execute("INSERT INTO signed_sets VALUES (?,?,?,?,?,?)",
                               row);
  });
}

absl::Status MaskingStore::KeepEvidence(const Digest& session,
                                        const std::string& document,
                                        absl::Time now) {
  return database_->Run([&](Transaction& transaction) {
    return transaction.Execute(
        "INSERT INTO evidence VALUES (?,?,?)",
        {Blob{DigestBytes(session)}, Blob{document}, absl::ToUnixMillis(now)});
  });
}

absl::StatusOr<std::optional<MaskingStore::Signed>> MaskingStore::FindSigned(
    const std::string& session) {
  std::optional<Signed> found;
  EDGETUNE_RETURN_IF_ERROR(
      database_->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(
            const auto rows,
            transaction.Query("SELECT run_id, round, attempt, document, "
                              "signed_ms FROM signed_sets WHERE session=?",
                              {Blob{session}}));
        if (rows.empty()) return absl::OkStatus();
        const Blob* run = std::get_if<Blob>(&rows[0][0]);
        const int64_t* round = std::get_if<int64_t>(&rows[0][1]);
        const int64_t* attempt = std::get_if<int64_t>(&rows[0][2]);
        const Blob* document = std::get_if<Blob>(&rows[0][3]);
        const int64_t* ms = std::get_if<int64_t>(&rows[0][4]);
        if (!run || !round || !attempt || !document || !ms) {
          return absl::DataLossError(
              "the device's state holds an unreadable survivor set");
        }
        found = Signed{{run->bytes, static_cast<uint32_t>(*round),
                        static_cast<uint32_t>(*attempt)},
                       session,
                       document->bytes,
                       *ms};
        return absl::OkStatus();
      }));
  return found;
}

}  // namespace edgetune
