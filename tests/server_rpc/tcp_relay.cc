#include "tests/server_rpc/tcp_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status.h"

namespace edgetune {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

TcpRelay::TcpRelay(int server_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  EDGETUNE_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) ==
                 0);
  EDGETUNE_CHECK(listen(listener_, 1) == 0);
  EDGETUNE_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address),
                             &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this, server_port] { Serve(server_port); });
}

TcpRelay::~TcpRelay() {
  shutdown(listener_, SHUT_RDWR);
  {
    std::lock_guard<std::mutex> lock(mu_);
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  thread_.join();
  for (int fd : open_) close(fd);
  close(listener_);
}

void TcpRelay::Serve(int server_port) {
  const int client = accept(listener_, nullptr, nullptr);
  if (client < 0) return;
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  {
    std::lock_guard<std::mutex> lock(mu_);
    open_ = {client, server};
  }
  sockaddr_in address = Loopback(server_port);
  if (connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)) !=
      0) {
    return;
  }
  std::thread back([&] { Pump(server, client, /*keep=*/true); });
  Pump(client, server, /*keep=*/false);
  back.join();
}

void TcpRelay::Pump(int from, int to, bool keep) {
  char buffer[4096];
  ssize_t n;
  while ((n = read(from, buffer, sizeof(buffer))) > 0) {
    if (keep) {
      std::lock_guard<std::mutex> lock(mu_);
      from_server_.append(buffer, static_cast<size_t>(n));
    }
    if (send(to, buffer, static_cast<size_t>(n), MSG_NOSIGNAL) != n) break;
  }
  shutdown(to, SHUT_RDWR);
}

std::string TcpRelay::FromServer() const {
  std::lock_guard<std::mutex> lock(mu_);
  return from_server_;
}

}  // namespace edgetune
