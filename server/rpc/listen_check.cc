#include "server/rpc/listen_check.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/status.h"

namespace edgetune {
namespace {

struct HostAndPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostAndPort> Split(const std::string& listen) {
  size_t colon = listen.rfind(':');
  bool digits =
      colon != std::string::npos && colon + 1 < listen.size() &&
      listen.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  if (!digits || listen.size() - colon > 6 ||
      std::stoi(listen.substr(colon + 1)) > 65535) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "cannot listen on \"{}\": wanted host:port", listen)),
                    ErrorKind::kConfig, "for example 0.0.0.0:7443");
  }
  std::string host = listen.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return HostAndPort{host, listen.substr(colon + 1)};
}

// errno of binding, 0 when it works.
int TryBind(const addrinfo& address) {
  int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  // As gRPC does: connections that linger after a restart are no obstacle.
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  int error = 0;
  if (bind(fd, address.ai_addr, address.ai_addrlen) != 0 ||
      ::listen(fd, 1) != 0) {
    error = errno;
  }
  close(fd);
  return error;
}

absl::Status BindError(const std::string& listen, int error) {
  std::string message =
      fmt::format("cannot listen on {}: {}", listen, std::strerror(error));
  if (error == EADDRINUSE) {
    return Annotate(absl::FailedPreconditionError(message),
                    ErrorKind::kPortInUse,
                    "stop the other program or choose another port (\"listen\" "
                    "in server.toml)");
  }
  return Annotate(absl::FailedPreconditionError(message), ErrorKind::kConfig,
                  "check \"listen\" in server.toml");
}

}  // namespace

absl::Status CheckListenAddress(const std::string& listen) {
  EDGETUNE_ASSIGN_OR_RETURN(HostAndPort where, Split(listen));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error = getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(),
                          where.port.c_str(), &hints, &found);
  if (error != 0) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format("cannot listen on {}: {}",
                                               listen, gai_strerror(error))),
        ErrorKind::kConfig, "check \"listen\" in server.toml");
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found,
                                                           &freeaddrinfo);
  int failed = 0;
  bool bound = false;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    int result = TryBind(*one);
    if (result == EADDRINUSE) return BindError(listen, result);
    // A machine without IPv6 still has "localhost" in both families.
    if (result == 0) bound = true;
    if (result != 0) failed = result;
  }
  return bound ? absl::OkStatus() : BindError(listen, failed);
}

}  // namespace edgetune
