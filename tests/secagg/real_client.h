#ifndef EDGETUNE_TESTS_SECAGG_REAL_CLIENT_H_
#define EDGETUNE_TESTS_SECAGG_REAL_CLIENT_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "client/client.h"
#include "privacy/identity/kit.h"
#include "tests/client/fixture.h"

namespace edgetune::testing {

// The product's client put together as its program does, over gRPC with mutual
// TLS; only the engine is a fake whose training is arithmetic. Its directory
// outlives it: a second one on the same directory is a restart. One thread.
class RealClient {
 public:
  struct Party {
    Kit kit;  // its identity's id is the device's name
    TrustedKeys trusted;
    const SigningKey* identity;  // borrowed
  };
  RealClient(Party party, std::string address, std::string directory);
  ~RealClient();

  void Start();
  void Stop();
  // Of its database; stopped only.
  std::vector<Row> Rows(const char* sql) const;
  void Execute(const std::string& sql);

  // Until Start.
  ClientFile file;
  bool has_identity_key = true;
  FakeEngine engine;

 private:
  const Party party_;
  const std::string address_;
  const std::string directory_;
  const RealClock clock_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobStore> cache_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_REAL_CLIENT_H_
