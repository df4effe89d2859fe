#ifndef EDGETUNE_STORAGE_DATABASE_H_
#define EDGETUNE_STORAGE_DATABASE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// One value of a row: NULL, integer, real, text, or bytes.
struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};
using Value = std::variant<std::monostate, int64_t, double, std::string, Blob>;
using Row = std::vector<Value>;

// The durable store of a coordinator or a device: SQLite in WAL mode with
// synchronous=FULL. Statements use '?' placeholders and are cached. Life:
// Open (migrates), then any number of calls. Thread-safe: one transaction at a
// time; a callback must not use the Database recursively except through the
// Transaction it is given (Internal). After a failed commit the process must
// exit without acting on it; every later Run fails. Errors: ResourceExhausted
// (disk full), DataLoss (corrupt file), FailedPrecondition (written by a newer
// program, or locked by another process), AlreadyExists (unique key taken; the
// transaction may go on), Internal (bad SQL, broken constraint, NaN).
class Transaction {
 public:
  virtual ~Transaction() = default;
  virtual absl::Status Execute(const char* sql, const Row& arguments = {}) = 0;
  virtual absl::StatusOr<std::vector<Row>> Query(const char* sql,
                                                 const Row& arguments = {}) = 0;
};

class Database {
 public:
  // `migrations[i]` brings a file from version i to i+1 (PRAGMA user_version).
  // ":memory:" makes a private one for tests. Another live process on the
  // same file is refused.
  static absl::StatusOr<std::unique_ptr<Database>> Open(
      const std::string& path, const std::vector<std::string>& migrations);
  virtual ~Database() = default;

  // Commits if `body` returns OK, rolls back otherwise and returns its error.
  virtual absl::Status Run(
      const std::function<absl::Status(Transaction&)>& body) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_DATABASE_H_
