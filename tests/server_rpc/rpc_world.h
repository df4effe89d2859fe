#ifndef EDGETUNE_TESTS_SERVER_RPC_RPC_WORLD_H_
#define EDGETUNE_TESTS_SERVER_RPC_RPC_WORLD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit.h"
#include "server/rpc/rpc_server.h"
#include "storage/blob_store.h"
#include "tests/server_rpc/fake_coordinator.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {

// How a test certificate differs from a good one.
struct KitFlaw {
  bool expired = false;
  bool wrong_usage = false;  // serverAuth for a client and the reverse
  std::string uri;           // instead of the identity's own
  std::vector<std::string> dns_names = {"localhost"};
  std::vector<std::string> addresses = {"127.0.0.1"};
};

// A certificate authority of a test.
class Authority {
 public:
  Authority();
  Kit MakeKit(PartyRole role, const std::string& id,
              const KitFlaw& flaw = {}) const;
  const std::string& ca_pem() const { return ca_.certificate_pem; }

 private:
  CertificateAndKey ca_;
};

// Puts CA, key and certificate of a kit where a server reads them.
void WriteKit(const std::string& directory, Kit* kit);

// A server on a loopback port with a fake coordinator and a real store.
class RpcWorld {
 public:
  RpcWorld();

  // Same kit, store and port.
  void Restart();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  Authority authority;
  Kit server_kit = authority.MakeKit(PartyRole::kServer, "server");
  Kit device_kit = authority.MakeKit(PartyRole::kDevice, "d1");
  Kit other_kit = authority.MakeKit(PartyRole::kDevice, "d2");
  Kit operator_kit = authority.MakeKit(PartyRole::kOperator, "op");
  testing::ScratchDirectory directory;
  std::unique_ptr<BlobStore> blobs;
  FakeCoordinator coordinator;
  std::unique_ptr<RpcServer> server;

 private:
  int port_ = 0;
};

// Bytes that differ everywhere, and never twice for two seeds.
std::string MakeBytes(size_t size, uint64_t seed);
std::span<const uint8_t> AsBytes(const std::string& text);

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_RPC_RPC_WORLD_H_
