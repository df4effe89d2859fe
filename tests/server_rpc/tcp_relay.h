#ifndef EDGETUNE_TESTS_SERVER_RPC_TCP_RELAY_H_
#define EDGETUNE_TESTS_SERVER_RPC_TCP_RELAY_H_

#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace edgetune {

// Passes one TCP connection on to 127.0.0.1:port and keeps what the server
// said. Life: the constructor listens; the destructor ends what is open.
class TcpRelay {
 public:
  explicit TcpRelay(int server_port);
  ~TcpRelay();

  int port() const { return port_; }
  std::string FromServer() const;

 private:
  void Serve(int server_port);
  void Pump(int from, int to, bool keep);

  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mu_;
  std::string from_server_;  // guarded by mu_
  std::vector<int> open_;    // guarded by mu_
  std::thread thread_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_RPC_TCP_RELAY_H_
