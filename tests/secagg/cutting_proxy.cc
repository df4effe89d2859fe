#include "tests/secagg/cutting_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/status.h"

namespace edgetune::testing {
namespace {

constexpr int kPollMs = 20;

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// False: the other side is gone.
bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = send(fd, data, size, MSG_NOSIGNAL);
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

// Both ends see a reset, as when a network goes away.
void Reset(int fd) {
  const linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(fd);
}

}  // namespace

CuttingProxy::CuttingProxy(int server_port) : server_port_(server_port) {
  listener_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  EDGETUNE_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) ==
                 0);
  EDGETUNE_CHECK(listen(listener_, 8) == 0);
  EDGETUNE_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address),
                             &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

CuttingProxy::~CuttingProxy() {
  stopped_ = true;
  thread_.join();
  close(listener_);
}

void CuttingProxy::Serve() {
  while (!stopped_) {
    pollfd waiting = {listener_, POLLIN, 0};
    if (poll(&waiting, 1, kPollMs) <= 0) continue;
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) continue;
    const int server = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = Loopback(server_port_);
    if (connect(server, reinterpret_cast<sockaddr*>(&address),
                sizeof(address)) == 0) {
      Relay(client, server);
    }
    Reset(client);
    Reset(server);
  }
}

void CuttingProxy::Relay(int client, int server) {
  std::vector<char> buffer(64 << 10);
  uint64_t left = cut_after_.exchange(0);
  const bool cuts = left > 0;
  while (!stopped_) {
    const bool spent = cuts && left == 0;
    if (spent && !halts_) return;
    pollfd both[] = {{spent ? -1 : client, POLLIN, 0}, {server, POLLIN, 0}};
    if (poll(both, 2, kPollMs) <= 0) continue;
    if (both[0].revents != 0) {
      const ssize_t got = recv(client, buffer.data(), buffer.size(), 0);
      if (got <= 0) return;
      size_t pass = static_cast<size_t>(got);
      if (cuts) pass = std::min<uint64_t>(pass, left);
      if (!WriteAll(server, buffer.data(), pass)) return;
      left -= cuts ? pass : 0;
    }
    if (both[1].revents != 0) {
      const ssize_t got = recv(server, buffer.data(), buffer.size(), 0);
      if (got <= 0 ||
          !WriteAll(client, buffer.data(), static_cast<size_t>(got))) {
        return;
      }
    }
  }
}

}  // namespace edgetune::testing
