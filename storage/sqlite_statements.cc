#include "storage/sqlite_statements.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>

#include "base/status.h"

namespace edgetune {
namespace {

// Statements are constants of the program; only a mistake reaches this.
constexpr size_t kMaxStatements = 256;

// The errno behind an I/O error. SQLite passes it on for some calls only; else
// the write-ahead log's file or the database's remembers it.
int SystemError(sqlite3* connection) {
  int error = sqlite3_system_errno(connection);
  sqlite3_file* log = nullptr;
  sqlite3_file_control(connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (error == 0 && log != nullptr && log->pMethods != nullptr) {
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
  }
  if (error == 0) {
    sqlite3_file_control(connection, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
  }
  return error;
}

absl::Status InputOutputStatus(sqlite3* connection, std::string message) {
  switch (const int error = SystemError(connection)) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrnoStatus(error, "cannot write the database,", message);
    default:
      return absl::UnknownError(message);
  }
}

absl::Status ConstraintStatus(int code, const std::string& message) {
  if (code == SQLITE_CONSTRAINT_UNIQUE ||
      code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_ROWID) {
    return absl::AlreadyExistsError(message);
  }
  return absl::InternalError(message);
}

Value ColumnOf(sqlite3_stmt* statement, int column) {
  const auto text = [&](const void* data) {
    const int size = sqlite3_column_bytes(statement, column);
    return size == 0 ? std::string()
                     : std::string(static_cast<const char*>(data),
                                   static_cast<size_t>(size));
  };
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return int64_t{sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    case SQLITE_TEXT:
      return text(sqlite3_column_text(statement, column));
    case SQLITE_BLOB:
      return Blob{text(sqlite3_column_blob(statement, column))};
    default:
      return std::monostate();
  }
}

// Bound without a copy: the arguments outlive the step.
struct Binder {
  sqlite3_stmt* statement;
  int index;

  int operator()(std::monostate) const {
    return sqlite3_bind_null(statement, index);
  }
  int operator()(int64_t value) const {
    return sqlite3_bind_int64(statement, index, value);
  }
  int operator()(double value) const {
    return sqlite3_bind_double(statement, index, value);
  }
  int operator()(const std::string& value) const {
    return sqlite3_bind_text64(statement, index, value.data(), value.size(),
                               SQLITE_STATIC, SQLITE_UTF8);
  }
  int operator()(const Blob& value) const {
    return sqlite3_bind_blob64(statement, index, value.bytes.data(),
                               value.bytes.size(), SQLITE_STATIC);
  }
};

bool IsBlank(const char* text) {
  for (; *text != '\0'; ++text) {
    if (*text != ' ' && *text != '\n' && *text != '\t' && *text != ';') {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::Status SqliteStatus(sqlite3* connection, int code,
                          std::string_view what) {
  const char* path =
      connection == nullptr ? nullptr : sqlite3_db_filename(connection, "main");
  const std::string message = fmt::format(
      "{} ({}): {}", what, path == nullptr || *path == '\0' ? "memory" : path,
      connection == nullptr ? sqlite3_errstr(code)
                            : sqlite3_errmsg(connection));
  switch (code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
      return absl::OkStatus();
    case SQLITE_FULL:
      return Annotate(absl::ResourceExhaustedError(message),
                      ErrorKind::kDiskFull,
                      "free some space on that file system and run again; "
                      "the last change was rolled back");
    case SQLITE_IOERR:
      return InputOutputStatus(connection, message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Annotate(absl::DataLossError(message), ErrorKind::kFailed,
                      "restore the file from a copy, or move it away to "
                      "start afresh");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::FailedPreconditionError(message);
    case SQLITE_CONSTRAINT:
      return ConstraintStatus(code, message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status ExecuteScript(sqlite3* connection, const std::string& sql) {
  const int code =
      sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr);
  return SqliteStatus(connection, code, fmt::format("'{}'", sql.substr(0, 60)));
}

absl::StatusOr<sqlite3_stmt*> SqliteStatements::Prepare(const char* sql) {
  if (auto found = statements_.find(sql); found != statements_.end()) {
    return found->second.get();
  }
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(connection_, sql, -1,
                                      SQLITE_PREPARE_PERSISTENT, &raw, &tail);
  std::unique_ptr<sqlite3_stmt, Finalizer> statement(raw);
  EDGETUNE_RETURN_IF_ERROR(
      SqliteStatus(connection_, code, fmt::format("'{}'", sql)));
  if (statement == nullptr || !IsBlank(tail)) {
    return absl::InternalError(
        fmt::format("'{}' is not exactly one statement", sql));
  }
  if (statements_.size() >= kMaxStatements) statements_.clear();
  statements_.emplace(sql, std::move(statement));
  return raw;
}

absl::Status SqliteStatements::Bind(sqlite3_stmt* statement, const char* sql,
                                    const Row& arguments) {
  const int wanted = sqlite3_bind_parameter_count(statement);
  if (arguments.size() != static_cast<size_t>(wanted)) {
    return absl::InternalError(
        fmt::format("'{}' was given {} arguments, wanted {}", sql,
                    arguments.size(), wanted));
  }
  for (int i = 0; i < wanted; ++i) {
    const Value& value = arguments[static_cast<size_t>(i)];
    const double* number = std::get_if<double>(&value);
    if (number != nullptr && std::isnan(*number)) {
      // SQLite would silently store NULL.
      return absl::InternalError(
          fmt::format("argument {} of '{}' is not a number", i + 1, sql));
    }
    const int code = std::visit(Binder{statement, i + 1}, value);
    EDGETUNE_RETURN_IF_ERROR(SqliteStatus(
        connection_, code, fmt::format("argument {} of '{}'", i + 1, sql)));
  }
  return absl::OkStatus();
}

absl::Status SqliteStatements::Run(const char* sql, const Row& arguments,
                                   std::vector<Row>* rows) {
  EDGETUNE_ASSIGN_OR_RETURN(sqlite3_stmt * statement, Prepare(sql));
  absl::Status status = Bind(statement, sql, arguments);
  int code = SQLITE_ROW;
  while (status.ok() && code == SQLITE_ROW) {
    code = sqlite3_step(statement);
    if (code != SQLITE_ROW || rows == nullptr) continue;
    Row row;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      row.push_back(ColumnOf(statement, i));
    }
    rows->push_back(std::move(row));
  }
  if (status.ok()) {
    status = SqliteStatus(connection_, code, fmt::format("'{}'", sql));
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

}  // namespace edgetune
