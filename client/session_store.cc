#include "client/session_store.h"

#include <fmt/format.h>

#include <tuple>
#include <utility>

#include "base/status.h"
#include "client/masking_store.h"
#include "client/own_vector_store.h"

namespace edgetune {
namespace {

template <typename Message>
absl::Status ParseBlob(const Value& value, Message* message) {
  const Blob* blob = std::get_if<Blob>(&value);
  if (blob != nullptr && message->ParseFromString(blob->bytes)) {
    return absl::OkStatus();
  }
  return absl::DataLossError("the device's state holds an unreadable session");
}

absl::StatusOr<SessionStore::Unfinished> FromRow(const Row& row) {
  SessionStore::Unfinished session;
  const Blob* run = std::get_if<Blob>(&row[0]);
  const int64_t* round = std::get_if<int64_t>(&row[1]);
  const int64_t* attempt = std::get_if<int64_t>(&row[2]);
  if (run == nullptr || round == nullptr || attempt == nullptr) {
    return absl::DataLossError(
        "the device's state holds a session without a key");
  }
  session.id = {run->bytes, static_cast<uint32_t>(*round),
                static_cast<uint32_t>(*attempt)};
  EDGETUNE_RETURN_IF_ERROR(ParseBlob(row[3], &session.assignment));
  if (!std::holds_alternative<std::monostate>(row[4])) {
    EDGETUNE_RETURN_IF_ERROR(ParseBlob(row[4], &session.report.emplace()));
  }
  return session;
}

// Nothing to do when the session itself is going on; else its (round, attempt)
// must be above the run's mark.
absl::Status RaiseMark(Transaction& transaction, const SessionId& id) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT round, attempt FROM high_water WHERE run_id=?",
                        {Blob{id.run_id}}));
  if (!rows.empty()) {
    const int64_t* round = std::get_if<int64_t>(&rows[0][0]);
    const int64_t* attempt = std::get_if<int64_t>(&rows[0][1]);
    if (round == nullptr || attempt == nullptr) {
      return absl::DataLossError("the device's state holds no readable mark");
    }
    if (std::tuple<int64_t, int64_t>(id.round, id.attempt) <=
        std::tie(*round, *attempt)) {
      return secagg::WithAbortCode(
          v1::REPLAY,
          absl::FailedPreconditionError(fmt::format(
              "round {} attempt {} was assigned, but this device was asked for "
              "round {} attempt {} of the run before: a replay",
              id.round, id.attempt, *round, *attempt)));
    }
  }
  return transaction.Execute(
      "INSERT OR REPLACE INTO high_water(run_id, round, attempt) "
      "VALUES(?,?,?)",
      KeyRow(id));
}

}  // namespace

Row KeyRow(const SessionId& id) {
  return {Blob{id.run_id}, int64_t{id.round}, int64_t{id.attempt}};
}

const std::vector<std::string>& SessionStore::Migrations() {
  static const auto* const migrations = new std::vector<std::string>{
      "CREATE TABLE high_water(run_id BLOB PRIMARY KEY, "
      "round INTEGER NOT NULL, attempt INTEGER NOT NULL);"
      "CREATE TABLE session(run_id BLOB NOT NULL, round INTEGER NOT NULL, "
      "attempt INTEGER NOT NULL, assignment BLOB NOT NULL, report BLOB, "
      "ending TEXT, detail TEXT, changed_ms INTEGER NOT NULL, "
      "PRIMARY KEY(run_id, round, attempt));",
      MaskingStore::Migration(), OwnVectorStore::Migration()};
  return *migrations;
}

absl::StatusOr<std::optional<SessionStore::Unfinished>>
SessionStore::ReadUnfinished() {
  std::optional<Unfinished> found;
  EDGETUNE_RETURN_IF_ERROR(
      database_->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(
            const auto rows,
            transaction.Query("SELECT run_id, round, attempt, assignment, "
                              "report FROM session WHERE ending IS NULL "
                              "ORDER BY changed_ms DESC LIMIT 1"));
        if (rows.empty()) return absl::OkStatus();
        EDGETUNE_ASSIGN_OR_RETURN(found, FromRow(rows[0]));
        return absl::OkStatus();
      }));
  return found;
}

absl::Status SessionStore::Begin(const SessionId& id,
                                 const v1::Assignment& assignment,
                                 absl::Time now) {
  return database_->Run([&](Transaction& transaction) -> absl::Status {
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto own,
        transaction.Query("SELECT 1 FROM session WHERE run_id=? AND round=? "
                          "AND attempt=? AND ending IS NULL",
                          KeyRow(id)));
    if (!own.empty()) return absl::OkStatus();
    EDGETUNE_RETURN_IF_ERROR(RaiseMark(transaction, id));
    Row row = KeyRow(id);
    row.push_back(Blob{assignment.SerializeAsString()});
    row.emplace_back(absl::ToUnixMillis(now));
    return transaction.Execute(
        "INSERT INTO session(run_id, round, attempt, assignment, changed_ms) "
        "VALUES(?,?,?,?,?)",
        row);
  });
}

absl::Status SessionStore::SaveReport(const SessionId& id,
                                      const v1::Report& report,
                                      absl::Time now) {
  return database_->Run([&](Transaction& transaction) {
    Row row = {Blob{report.SerializeAsString()}, absl::ToUnixMillis(now)};
    for (const Value& value : KeyRow(id)) row.push_back(value);
    return transaction.Execute(
        "UPDATE session SET report=?, changed_ms=? WHERE run_id=? AND round=? "
        "AND attempt=? AND ending IS NULL",
        row);
  });
}

absl::Status SessionStore::End(const SessionId& id,
                               ClientSession::Ending ending,
                               const std::string& detail, absl::Time now) {
  return database_->Run([&](Transaction& transaction) -> absl::Status {
    Row row = {std::string(EndingName(ending)), detail,
               absl::ToUnixMillis(now)};
    for (const Value& value : KeyRow(id)) row.push_back(value);
    EDGETUNE_RETURN_IF_ERROR(transaction.Execute(
        "UPDATE session SET ending=?, detail=?, changed_ms=? WHERE run_id=? "
        "AND round=? AND attempt=? AND ending IS NULL",
        row));
    // The marks protect from replays; of sessions the last one is kept.
    return transaction.Execute(
        "DELETE FROM session WHERE ending IS NOT NULL AND "
        "(run_id<>? OR round<>? OR attempt<>?)",
        KeyRow(id));
  });
}

}  // namespace edgetune
