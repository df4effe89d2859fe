#include "base/status.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/cord.h"

namespace edgetune {
namespace {

constexpr char kKindUrl[] = "edgetune/error_kind";
constexpr char kHintUrl[] = "edgetune/error_hint";

struct KindRow {
  ErrorKind kind;
  const char* name;
  int exit_code;
};
constexpr KindRow kKinds[] = {
    {ErrorKind::kUsage, "usage", 4},
    {ErrorKind::kConfig, "config", 4},
    {ErrorKind::kModel, "model", 4},
    {ErrorKind::kData, "data", 4},
    {ErrorKind::kConnection, "connection", 2},
    {ErrorKind::kIdentity, "identity", 2},
    {ErrorKind::kPortInUse, "port_in_use", 2},
    {ErrorKind::kNotEnoughClients, "not_enough_clients", 3},
    {ErrorKind::kDigestMismatch, "digest_mismatch", 1},
    {ErrorKind::kDiskFull, "disk_full", 1},
    {ErrorKind::kFailed, "failed", 1},
    {ErrorKind::kInternal, "internal", 5},
};

const KindRow& RowOf(ErrorKind kind) {
  for (const KindRow& row : kKinds) {
    if (row.kind == kind) return row;
  }
  return kKinds[std::size(kKinds) - 1];
}

std::optional<ErrorKind> AttachedKind(const absl::Status& status) {
  auto payload = status.GetPayload(kKindUrl);
  if (!payload.has_value()) return std::nullopt;
  std::string name(*payload);
  for (const KindRow& row : kKinds) {
    if (name == row.name) return row.kind;
  }
  return std::nullopt;
}

}  // namespace

std::string_view ErrorCodeName(ErrorKind kind) { return RowOf(kind).name; }

int ExitCodeOf(const absl::Status& status) {
  return status.ok() ? 0 : RowOf(KindOf(status)).exit_code;
}

absl::Status Annotate(absl::Status status, ErrorKind kind,
                      std::string_view hint) {
  if (status.ok() || AttachedKind(status).has_value()) return status;
  status.SetPayload(kKindUrl, absl::Cord(RowOf(kind).name));
  if (!hint.empty()) {
    status.SetPayload(kHintUrl, absl::Cord(std::string(hint)));
  }
  return status;
}

ErrorKind KindOf(const absl::Status& status) {
  if (auto kind = AttachedKind(status)) return *kind;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return ErrorKind::kConnection;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return ErrorKind::kIdentity;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return ErrorKind::kInternal;
    default:
      return ErrorKind::kFailed;
  }
}

std::string HintOf(const absl::Status& status) {
  auto payload = status.GetPayload(kHintUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status Prefix(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status out(status.code(), fmt::format("{}: {}", context,
                                              std::string(status.message())));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    out.SetPayload(url, value);
  });
  return out;
}

absl::Status ErrnoStatus(int error, std::string_view what,
                         std::string_view path) {
  std::string message =
      fmt::format("{} {}: {}", what, path, std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::FailedPreconditionError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Annotate(absl::ResourceExhaustedError(message),
                      ErrorKind::kDiskFull,
                      "free some space on that file system and run again; "
                      "nothing was left half-written");
    default:
      return absl::UnknownError(message);
  }
}

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: internal error: %s\n", file, line, what);
  std::abort();
}

}  // namespace edgetune
