#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

#include "base/status.h"
#include "client/grpc/channel.h"
#include "protos/grpc_status.h"

namespace edgetune {
namespace {

// What gRPC 1.51 and OpenSSL 3 write into a message, and what it means. The
// texts are no interface: an unknown one is passed on as it is.
struct Row {
  std::string_view text;  // lower case
  absl::StatusCode code;
  ErrorKind kind;
  std::string_view meaning;  // after "<address>: "
  std::string_view hint;
};

constexpr std::string_view kTrustHint =
    "check that the kit is of this server, that the server's certificate is in "
    "date, and the clock of this machine";

constexpr Row kRows[] = {
    {"hostname verification check failed", absl::StatusCode::kUnauthenticated,
     ErrorKind::kIdentity, "the server's certificate is not for this host",
     "dial a name that the server's certificate lists, or provision the "
     "server with this one"},
    {"not a server by its uri", absl::StatusCode::kUnauthenticated,
     ErrorKind::kIdentity, "the peer's certificate is not that of a server",
     "something else answers at this address; check it"},
    {"certificate verify failed", absl::StatusCode::kUnauthenticated,
     ErrorKind::kIdentity,
     "the server's certificate is not trusted: it is of another CA than the "
     "kit, or out of date",
     kTrustHint},
    {"wrong version number", absl::StatusCode::kUnavailable,
     ErrorKind::kConnection, "the server does not speak TLS",
     "something else answers at this address; check host and port"},
    {"connection refused", absl::StatusCode::kUnavailable,
     ErrorKind::kConnection, "connection refused",
     "is edgetune-server running there, and is the port right?"},
    {"dns resolution failed", absl::StatusCode::kUnavailable,
     ErrorKind::kConnection, "unknown host", "check the server address"},
    {"no route to host", absl::StatusCode::kUnavailable, ErrorKind::kConnection,
     "no route to host", "check the address and the network"},
    {"network is unreachable", absl::StatusCode::kUnavailable,
     ErrorKind::kConnection, "the network is unreachable",
     "check the address and the network"},
    {"failed to connect to all addresses", absl::StatusCode::kUnavailable,
     ErrorKind::kConnection, "the server closed the connection",
     "it may be stopping, or refuse this kit's certificate (another CA, or "
     "out of date)"},
};

std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return text.substr(0, 500);
}

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Of gRPC itself, not of a handler: no details, one of these codes.
bool IsFromConnection(const grpc::Status& status) {
  return status.error_details().empty() &&
         (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
          status.error_code() == grpc::StatusCode::UNKNOWN ||
          status.error_code() == grpc::StatusCode::INTERNAL ||
          status.error_code() == grpc::StatusCode::CANCELLED);
}

}  // namespace

absl::Status CallStatus(const grpc::Status& status,
                        const std::string& address) {
  if (status.ok()) return absl::OkStatus();
  if (!IsFromConnection(status)) {
    absl::Status told = FromGrpcStatus(status);
    if (absl::IsDeadlineExceeded(told)) {
      return Annotate(absl::UnavailableError(
                          fmt::format("no answer from {} in time", address)),
                      ErrorKind::kConnection,
                      "check the address, the network and the server's log");
    }
    return told;
  }
  std::string text = OneLine(status.error_message());
  std::string lower = LowerCase(text);
  for (const Row& row : kRows) {
    if (lower.find(row.text) == std::string::npos) continue;
    return Annotate(absl::Status(row.code, fmt::format("cannot connect to {}: "
                                                       "{}",
                                                       address, row.meaning)),
                    row.kind, row.hint);
  }
  return Annotate(absl::UnavailableError(fmt::format(
                      "lost the connection to {}: {}", address, text)),
                  ErrorKind::kConnection,
                  "the server may be restarting; try again");
}

}  // namespace edgetune
