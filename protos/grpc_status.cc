#include "protos/grpc_status.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr std::string_view kMark = "edgetune-status\n";
constexpr size_t kMaxMessage = 2000;
constexpr size_t kMaxHint = 500;

std::optional<ErrorKind> KindNamed(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(ErrorKind::kInternal); ++i) {
    ErrorKind kind = static_cast<ErrorKind>(i);
    if (ErrorCodeName(kind) == name) return kind;
  }
  return std::nullopt;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string details =
      fmt::format("{}{}\n{}", kMark, ErrorCodeName(KindOf(status)),
                  HintOf(status).substr(0, kMaxHint));
  return grpc::Status(
      static_cast<grpc::StatusCode>(static_cast<int>(status.code())),
      std::string(status.message()).substr(0, kMaxMessage), details);
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  int code = static_cast<int>(status.error_code());
  if (code < 1 || code > 16) code = 2;
  absl::Status out(static_cast<absl::StatusCode>(code), status.error_message());
  std::string details = status.error_details();
  std::string_view rest = details;
  if (!rest.starts_with(kMark)) return out;
  rest.remove_prefix(kMark.size());
  size_t line = rest.find('\n');
  if (line == std::string_view::npos) return out;
  auto kind = KindNamed(rest.substr(0, line));
  if (!kind.has_value()) return out;
  return Annotate(out, *kind, rest.substr(line + 1));
}

}  // namespace edgetune
