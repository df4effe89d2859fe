#ifndef EDGETUNE_BASE_STATUS_H_
#define EDGETUNE_BASE_STATUS_H_

// Status macros, and the annotations that turn a Status into what a user sees:
// a kind (which decides the exit code) and a hint (what to do next).
//
// Codes, everywhere: InvalidArgument peer or file is nonsense;
// FailedPrecondition wrong phase; Unavailable retry this call; Aborted restart
// the session; ResourceExhausted budget, quota, disk; DataLoss checksum;
// Unauthenticated/PermissionDenied identity; Internal our bug. A message says
// what, which one, got, wanted; never a key, an example, a token or an update.

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace edgetune {

// What went wrong, as a user sorts it. The exit code follows from it
// (ExitCodeOf): 4 unusable input, 2 connection or identity, 3 not enough
// clients, 1 failed later, 5 our bug.
enum class ErrorKind {
  kUsage,             // unknown flag, missing argument          -> 4
  kConfig,            // run file, server.toml, client.toml      -> 4
  kModel,             // model or adapter file unusable          -> 4
  kData,              // training or held-out data unusable      -> 4
  kConnection,        // peer not reachable, call failed         -> 2
  kIdentity,          // certificate, key, signature, role       -> 2
  kPortInUse,         // cannot listen                           -> 2
  kNotEnoughClients,  // quorum never met                        -> 3
  kDigestMismatch,    // downloaded part differs from its digest -> 1
  kDiskFull,          // write failed                            -> 1
  kFailed,            // the job failed for another reason       -> 1
  kInternal,          // our bug                                 -> 5
};

// "model", "port_in_use", ...: the error_code of JSON output.
std::string_view ErrorCodeName(ErrorKind kind);
int ExitCodeOf(const absl::Status& status);

// Attaches kind and hint unless the status is OK or already carries a kind:
// the room nearest to the fault knows best.
absl::Status Annotate(absl::Status status, ErrorKind kind,
                      std::string_view hint = "");

// The attached kind; without one, a guess from the status code.
ErrorKind KindOf(const absl::Status& status);
// The attached hint, or "".
std::string HintOf(const absl::Status& status);

// Puts `context` and ": " before the message; keeps code and annotations.
absl::Status Prefix(const absl::Status& status, std::string_view context);

// A Status of errno for a file operation, with kDiskFull and its hint when the
// disk or quota is full. `what` is e.g. "cannot write", `path` the file.
absl::Status ErrnoStatus(int error, std::string_view what,
                         std::string_view path);

inline const absl::Status& ToStatus(const absl::Status& s) { return s; }
template <typename T>
const absl::Status& ToStatus(const absl::StatusOr<T>& s) {
  return s.status();
}

[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

}  // namespace edgetune

#define EDGETUNE_CONCAT_INNER(a, b) a##b
#define EDGETUNE_CONCAT(a, b) EDGETUNE_CONCAT_INNER(a, b)

#define EDGETUNE_RETURN_IF_ERROR(expr)                           \
  do {                                                           \
    if (auto edgetune_status = (expr); !edgetune_status.ok())    \
      return ::edgetune::ToStatus(edgetune_status);              \
  } while (false)

#define EDGETUNE_ASSIGN_OR_RETURN(lhs, expr) \
  EDGETUNE_ASSIGN_OR_RETURN_IMPL(            \
      EDGETUNE_CONCAT(edgetune_statusor_, __LINE__), lhs, expr)
#define EDGETUNE_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                   \
  if (!tmp.ok()) return tmp.status();                  \
  lhs = std::move(tmp).value()

// States a programmer's error; unreachable from bytes off the wire or disk.
#define EDGETUNE_CHECK(cond)                                        \
  do {                                                              \
    if (!(cond)) ::edgetune::CheckFailed(__FILE__, __LINE__, #cond); \
  } while (false)

#endif  // EDGETUNE_BASE_STATUS_H_
