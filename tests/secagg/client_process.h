#ifndef EDGETUNE_TESTS_SECAGG_CLIENT_PROCESS_H_
#define EDGETUNE_TESTS_SECAGG_CLIENT_PROCESS_H_

#include <sys/types.h>

#include <string>

#include "tests/secagg/real_client.h"
#include "tests/secagg/tls_fleet.h"

namespace edgetune::testing {

// A RealClient in a process of its own, to be killed like one. What it needs
// to know is written into its directory, which outlives it. One thread; dies
// with this process.
class ClientProcess {
 public:
  ClientProcess(const TlsFleet& fleet, uint32_t member,
                const std::string& address, const std::string& directory);
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  // SIGKILL, and waits for the end.
  void Kill();

 private:
  pid_t pid_ = -1;
};

// What the process reads back. `identity` must outlive the party.
RealClient::Party ReadParty(const std::string& directory, SigningKey* identity);
SigningKey ReadIdentity(const std::string& directory);

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_CLIENT_PROCESS_H_
