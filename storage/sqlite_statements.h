#ifndef EDGETUNE_STORAGE_SQLITE_STATEMENTS_H_
#define EDGETUNE_STORAGE_SQLITE_STATEMENTS_H_

// Prepared statements and error codes of SQLite; for the sources of this room.

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/database.h"

namespace edgetune {

struct SqliteCloser {
  void operator()(sqlite3* connection) const { sqlite3_close(connection); }
};
using SqlitePtr = std::unique_ptr<sqlite3, SqliteCloser>;

// The status of `code`, just returned by `connection`; `what` begins the
// message. Codes as database.h lists them.
absl::Status SqliteStatus(sqlite3* connection, int code, std::string_view what);

// Runs one SQL text (several statements allowed) without arguments.
absl::Status ExecuteScript(sqlite3* connection, const std::string& sql);

// Prepared statements of one connection by their text. Destroyed before the
// connection. One thread at a time.
class SqliteStatements {
 public:
  explicit SqliteStatements(sqlite3* connection) : connection_(connection) {}

  // Binds, steps to the end, resets. `rows` may be null.
  absl::Status Run(const char* sql, const Row& arguments,
                   std::vector<Row>* rows);

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
  };

  absl::StatusOr<sqlite3_stmt*> Prepare(const char* sql);
  absl::Status Bind(sqlite3_stmt* statement, const char* sql,
                    const Row& arguments);

  sqlite3* const connection_;
  std::unordered_map<std::string, std::unique_ptr<sqlite3_stmt, Finalizer>>
      statements_;
};

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_SQLITE_STATEMENTS_H_
