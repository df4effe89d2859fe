#include "client/own_vector_store.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/status.h"
#include "privacy/crypto/secret.h"

namespace edgetune {
namespace {

// Where a vector came from.
struct Origin {
  int64_t round = 0, attempt = 0;
  bool operator==(const Origin&) const = default;
};

// What is known of one run's row; none of it without a row.
struct Origins {
  std::optional<Origin> own, next;
};

absl::Status Unreadable() {
  return absl::DataLossError(
      "the device's state holds an unreadable vector of its own");
}

// Both columns are NULL or neither is.
absl::StatusOr<std::optional<Origin>> ReadOrigin(const Value& round,
                                                 const Value& attempt) {
  if (std::holds_alternative<std::monostate>(round) &&
      std::holds_alternative<std::monostate>(attempt)) {
    return std::nullopt;
  }
  const int64_t* r = std::get_if<int64_t>(&round);
  const int64_t* a = std::get_if<int64_t>(&attempt);
  if (r == nullptr || a == nullptr) return Unreadable();
  return Origin{*r, *a};
}

absl::StatusOr<Origins> ReadOrigins(Transaction& transaction,
                                    const std::string& run_id) {
  Origins origins;
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rows,
      transaction.Query("SELECT own_round, own_attempt, next_round, "
                        "next_attempt FROM controls WHERE run_id=?",
                        {Blob{run_id}}));
  if (rows.empty()) return origins;
  const Row& row = rows[0];
  EDGETUNE_ASSIGN_OR_RETURN(origins.own, ReadOrigin(row[0], row[1]));
  EDGETUNE_ASSIGN_OR_RETURN(origins.next, ReadOrigin(row[2], row[3]));
  return origins;
}

std::string Named(const std::optional<Origin>& origin) {
  if (!origin.has_value()) return "none";
  return fmt::format("round {} attempt {}", origin->round, origin->attempt);
}

absl::Status Elsewhere(const std::optional<Origin>& counted,
                       const std::optional<Origin>& own) {
  return absl::FailedPreconditionError(fmt::format(
      "the coordinator counts {} as this device's last update in the adapter, "
      "what this device keeps is of {}",
      Named(counted), Named(own)));
}

}  // namespace

const char* OwnVectorStore::Migration() {
  return "CREATE TABLE controls(run_id BLOB PRIMARY KEY, own BLOB, "
         "own_round INTEGER, own_attempt INTEGER, next BLOB, "
         "next_round INTEGER, next_attempt INTEGER, "
         "expires_ms INTEGER NOT NULL);";
}

absl::Status OwnVectorStore::Settle(const std::string& run_id,
                                    const std::optional<SessionId>& counted,
                                    absl::Time now) {
  std::optional<Origin> wanted;
  if (counted.has_value()) wanted = Origin{counted->round, counted->attempt};
  return database_->Run([&](Transaction& transaction) -> absl::Status {
    EDGETUNE_RETURN_IF_ERROR(
        transaction.Execute("DELETE FROM controls WHERE expires_ms < ?",
                            {absl::ToUnixMillis(now)}));
    EDGETUNE_ASSIGN_OR_RETURN(const Origins origins,
                              ReadOrigins(transaction, run_id));
    if (wanted != origins.own) {
      if (!wanted.has_value() || wanted != origins.next) {
        return Elsewhere(wanted, origins.own);
      }
      EDGETUNE_RETURN_IF_ERROR(transaction.Execute(
          "UPDATE controls SET own=next, own_round=next_round, "
          "own_attempt=next_attempt WHERE run_id=?",
          {Blob{run_id}}));
    }
    return transaction.Execute(
        "UPDATE controls SET next=NULL, next_round=NULL, next_attempt=NULL "
        "WHERE run_id=?",
        {Blob{run_id}});
  });
}

absl::StatusOr<ParameterVector> OwnVectorStore::Read(const std::string& run_id,
                                                     size_t coordinates) {
  ParameterVector own;
  EDGETUNE_RETURN_IF_ERROR(
      database_->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(
            const auto rows,
            transaction.Query("SELECT own FROM controls WHERE run_id=?",
                              {Blob{run_id}}));
        if (rows.empty() ||
            std::holds_alternative<std::monostate>(rows[0][0])) {
          return absl::OkStatus();
        }
        const Blob* blob = std::get_if<Blob>(&rows[0][0]);
        if (blob == nullptr) return Unreadable();
        EDGETUNE_ASSIGN_OR_RETURN(
            own, ParseParameters(ByteSpan(blob->bytes), coordinates));
        return absl::OkStatus();
      }));
  return own;
}

absl::Status OwnVectorStore::Keep(const SessionId& id,
                                  std::span<const float> next,
                                  absl::Time expires) {
  return database_->Run([&](Transaction& transaction) -> absl::Status {
    EDGETUNE_RETURN_IF_ERROR(transaction.Execute(
        "INSERT OR IGNORE INTO controls(run_id, expires_ms) VALUES(?,?)",
        {Blob{id.run_id}, absl::ToUnixMillis(expires)}));
    return transaction.Execute(
        "UPDATE controls SET next=?, next_round=?, next_attempt=? "
        "WHERE run_id=?",
        {Blob{SerializeParameters(next)}, int64_t{id.round},
         int64_t{id.attempt}, Blob{id.run_id}});
  });
}

absl::Status OwnVectorStore::Carry(const SessionId& id) {
  return database_->Run([&](Transaction& transaction) {
    return transaction.Execute(
        "UPDATE controls SET next_round=?, next_attempt=? WHERE run_id=? AND "
        "next IS NOT NULL",
        {int64_t{id.round}, int64_t{id.attempt}, Blob{id.run_id}});
  });
}

absl::Status OwnVectorStore::Forget(const std::string& run_id) {
  return database_->Run([&](Transaction& transaction) {
    return transaction.Execute("DELETE FROM controls WHERE run_id=?",
                               {Blob{run_id}});
  });
}

}  // namespace edgetune
