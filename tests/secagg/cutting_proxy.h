#ifndef EDGETUNE_TESTS_SECAGG_CUTTING_PROXY_H_
#define EDGETUNE_TESTS_SECAGG_CUTTING_PROXY_H_

#include <atomic>
#include <cstdint>
#include <thread>

namespace edgetune::testing {

// A TCP relay on a loopback port that resets a connection after so many bytes
// towards the server: at once, when most of them may still be under way, or
// when it is told to. One connection at a time. Thread-safe.
class CuttingProxy {
 public:
  explicit CuttingProxy(int server_port);
  ~CuttingProxy();

  int port() const { return port_; }
  // The next connection is cut after this many bytes, more than 0.
  void CutAfter(uint64_t bytes) { cut_after_ = bytes; }
  // After this many bytes the next connection carries answers only, until Cut.
  void HaltAfter(uint64_t bytes) {
    halts_ = true;
    cut_after_ = bytes;
  }
  void Cut() { halts_ = false; }

 private:
  void Serve();
  void Relay(int client, int server);

  const int server_port_;
  int port_ = 0;
  int listener_ = -1;
  std::atomic<uint64_t> cut_after_{0};
  std::atomic<bool> halts_{false};
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_CUTTING_PROXY_H_
