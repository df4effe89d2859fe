#include "storage/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/atomic_file.h"
#include "base/status.h"
#include "storage/file_descriptor.h"
#include "storage/sqlite_statements.h"

namespace edgetune {
namespace {

constexpr char kMemory[] = ":memory:";
// Only a reader from outside (a backup) can hold the file for a moment.
constexpr int kBusyMilliseconds = 5000;

// A transaction whose end is certain: rolled back unless committed.
class SqliteTransaction final : public Transaction {
 public:
  SqliteTransaction(sqlite3* connection, SqliteStatements* statements)
      : connection_(connection), statements_(statements) {}
  ~SqliteTransaction() override {
    if (sqlite3_get_autocommit(connection_) == 0) {
      (void)statements_->Run("ROLLBACK", {}, nullptr);
    }
  }

  absl::Status Begin() {
    return statements_->Run("BEGIN IMMEDIATE", {}, nullptr);
  }
  absl::Status Commit() {
    EDGETUNE_RETURN_IF_ERROR(ended_);
    return statements_->Run("COMMIT", {}, nullptr);
  }
  const absl::Status& ended() const { return ended_; }

  absl::Status Execute(const char* sql, const Row& arguments) override {
    return Step(sql, arguments, nullptr);
  }
  absl::StatusOr<std::vector<Row>> Query(const char* sql,
                                         const Row& arguments) override {
    std::vector<Row> rows;
    EDGETUNE_RETURN_IF_ERROR(Step(sql, arguments, &rows));
    return rows;
  }

 private:
  absl::Status Step(const char* sql, const Row& arguments,
                    std::vector<Row>* rows) {
    EDGETUNE_RETURN_IF_ERROR(ended_);
    absl::Status status = statements_->Run(sql, arguments, rows);
    // SQLite ends a transaction by itself after some errors (disk full); what
    // the body does next must not be written outside of one.
    if (sqlite3_get_autocommit(connection_) != 0) {
      ended_ = status.ok() ? absl::InternalError(
                                 fmt::format("'{}' ended the transaction", sql))
                           : status;
      return ended_;
    }
    return status;
  }

  sqlite3* const connection_;
  SqliteStatements* const statements_;
  absl::Status ended_;
};

// Names the thread that runs a transaction for as long as it does.
class OwnerMark {
 public:
  explicit OwnerMark(std::atomic<std::thread::id>* owner) : owner_(owner) {
    owner_->store(std::this_thread::get_id());
  }
  ~OwnerMark() { owner_->store(std::thread::id()); }

 private:
  std::atomic<std::thread::id>* const owner_;
};

class SqliteDatabase final : public Database {
 public:
  SqliteDatabase(FileDescriptor lock, SqlitePtr connection)
      : lock_(std::move(lock)),
        connection_(std::move(connection)),
        statements_(connection_.get()) {}

  absl::Status Run(
      const std::function<absl::Status(Transaction&)>& body) override {
    if (owner_.load() == std::this_thread::get_id()) {
      return absl::InternalError(
          "a transaction was begun inside another of the same thread");
    }
    std::lock_guard<std::mutex> hold(mu_);
    const OwnerMark mark(&owner_);
    EDGETUNE_RETURN_IF_ERROR(failed_commit_);
    SqliteTransaction transaction(connection_.get(), &statements_);
    EDGETUNE_RETURN_IF_ERROR(transaction.Begin());
    EDGETUNE_RETURN_IF_ERROR(body(transaction));
    EDGETUNE_RETURN_IF_ERROR(transaction.ended());
    absl::Status status = transaction.Commit();
    if (!status.ok() && status.code() != absl::StatusCode::kInternal) {
      // Unlike a broken constraint, a failed write leaves it unknown what the
      // disk holds; only opening the file again tells.
      failed_commit_ = Prefix(status, "an earlier commit failed");
    }
    return status;
  }

  absl::Status Migrate(const std::vector<std::string>& migrations,
                       const std::string& path);

 private:
  absl::StatusOr<int64_t> Version();

  // Destroyed last to first: statements, connection, then the lock.
  const FileDescriptor lock_;
  const SqlitePtr connection_;
  SqliteStatements statements_;
  std::mutex mu_;
  std::atomic<std::thread::id> owner_{};
  absl::Status failed_commit_;
};

absl::StatusOr<int64_t> SqliteDatabase::Version() {
  std::vector<Row> rows;
  EDGETUNE_RETURN_IF_ERROR(statements_.Run("PRAGMA user_version", {}, &rows));
  return std::get<int64_t>(rows.at(0).at(0));
}

absl::Status SqliteDatabase::Migrate(const std::vector<std::string>& migrations,
                                     const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(const int64_t version, Version());
  const int64_t newest = static_cast<int64_t>(migrations.size());
  if (version < 0 || version > newest) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format(
            "{} was written by a newer program: its version is {}, this "
            "program knows up to {}",
            path, version, newest)),
        ErrorKind::kFailed, "update this program, or use another state file");
  }
  for (int64_t i = version; i < newest; ++i) {
    SqliteTransaction transaction(connection_.get(), &statements_);
    EDGETUNE_RETURN_IF_ERROR(transaction.Begin());
    absl::Status status =
        ExecuteScript(connection_.get(), migrations[static_cast<size_t>(i)]);
    if (status.ok()) {
      status = ExecuteScript(connection_.get(),
                             fmt::format("PRAGMA user_version = {}", i + 1));
    }
    if (status.ok()) status = transaction.Commit();
    EDGETUNE_RETURN_IF_ERROR(Prefix(
        status, fmt::format("cannot bring {} to version {}", path, i + 1)));
  }
  return absl::OkStatus();
}

// One live process a file; the kernel drops the lock however it ends.
absl::StatusOr<FileDescriptor> TakeLock(const std::string& path) {
  const std::string lock_path = path + ".lock";
  auto lock = OpenLocked(lock_path, O_RDWR | O_CREAT, 0600, false);
  if (lock.ok() || !absl::IsFailedPrecondition(lock.status())) return lock;
  return Annotate(
      Prefix(lock.status(), fmt::format("cannot open {}", path)),
      ErrorKind::kFailed,
      "stop the other program that uses this state, or choose another state "
      "directory");
}

// SQLite would make the file with the umask's mode; its WAL file takes the
// mode of this one.
absl::Status MakePrivateFile(const std::string& path) {
  {
    const FileDescriptor file(
        open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (file.get() < 0) return ErrnoStatus(errno, "cannot open", path);
    if (fchmod(file.get(), 0600) != 0) {
      return ErrnoStatus(errno, "cannot set the mode of", path);
    }
  }
  const std::string parent = std::filesystem::path(path).parent_path();
  return FsyncDirectory(parent.empty() ? "." : parent);
}

absl::StatusOr<SqlitePtr> Connect(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                          SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                      nullptr);
  SqlitePtr connection(raw);
  EDGETUNE_RETURN_IF_ERROR(SqliteStatus(raw, code, "cannot open a database"));
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  EDGETUNE_RETURN_IF_ERROR(
      ExecuteScript(raw,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; "
                    "PRAGMA cell_size_check = ON"));
  return connection;
}

absl::Status CheckWriteAheadLog(sqlite3* connection, const std::string& path) {
  SqliteStatements statements(connection);
  std::vector<Row> rows;
  EDGETUNE_RETURN_IF_ERROR(statements.Run("PRAGMA journal_mode", {}, &rows));
  const std::string& mode = std::get<std::string>(rows.at(0).at(0));
  if (mode == "wal") return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{} cannot have a write-ahead log (its journal mode stays '{}'): its "
      "file system lacks shared memory or locks",
      path, mode));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(
    const std::string& path, const std::vector<std::string>& migrations) {
  FileDescriptor lock;
  const bool on_disk = path != kMemory;
  if (on_disk) {
    EDGETUNE_ASSIGN_OR_RETURN(lock, TakeLock(path));
    EDGETUNE_RETURN_IF_ERROR(MakePrivateFile(path));
  }
  EDGETUNE_ASSIGN_OR_RETURN(SqlitePtr connection, Connect(path));
  if (on_disk) {
    EDGETUNE_RETURN_IF_ERROR(CheckWriteAheadLog(connection.get(), path));
  }
  auto database =
      std::make_unique<SqliteDatabase>(std::move(lock), std::move(connection));
  EDGETUNE_RETURN_IF_ERROR(database->Migrate(migrations, path));
  return database;
}

}  // namespace edgetune
