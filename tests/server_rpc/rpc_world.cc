#include "tests/server_rpc/rpc_world.h"

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/status.h"

namespace edgetune {

Authority::Authority() {
  absl::Time now = absl::Now();
  auto ca = MakeCertificateAuthority("test CA", now - absl::Hours(48),
                                     now + absl::Hours(48));
  EDGETUNE_CHECK(ca.ok());
  ca_ = *ca;
}

Kit Authority::MakeKit(PartyRole role, const std::string& id,
                       const KitFlaw& flaw) const {
  Kit kit;
  kit.identity = {role, id};
  CertificateRequest request;
  request.common_name = id;
  request.uri = flaw.uri.empty() ? IdentityUri(kit.identity) : flaw.uri;
  bool is_server = role == PartyRole::kServer;
  if (is_server) request.dns_names = flaw.dns_names;
  if (is_server) request.addresses = flaw.addresses;
  request.server_auth = is_server != flaw.wrong_usage;
  request.client_auth = !request.server_auth;
  absl::Time now = absl::Now();
  request.not_before = now - absl::Hours(24);
  request.not_after =
      flaw.expired ? now - absl::Hours(1) : now + absl::Hours(24);
  auto issued = IssueCertificate(ca_, request);
  EDGETUNE_CHECK(issued.ok());
  kit.ca_pem = ca_.certificate_pem;
  kit.certificate_pem = issued->certificate_pem;
  kit.key_pem = issued->key_pem;
  return kit;
}

void WriteKit(const std::string& directory, Kit* kit) {
  kit->directory = directory;
  EDGETUNE_CHECK(MakeDirectories(directory, 0700).ok());
  EDGETUNE_CHECK(WriteFileAtomically(CaPathOf(*kit), kit->ca_pem).ok());
  EDGETUNE_CHECK(
      WriteFileAtomically(TlsPathOf(*kit), kit->key_pem + kit->certificate_pem)
          .ok());
}

RpcWorld::RpcWorld() {
  auto opened = BlobStore::Open(directory.path() + "/blobs");
  EDGETUNE_CHECK(opened.ok());
  blobs = *std::move(opened);
  Restart();
}

void RpcWorld::Restart() {
  server.reset();
  WriteKit(directory.path() + "/kit", &server_kit);
  auto started =
      RpcServer::Start(address(), server_kit, &coordinator, blobs.get());
  EDGETUNE_CHECK(started.ok());
  server = *std::move(started);
  port_ = server->port();
}

std::string MakeBytes(size_t size, uint64_t seed) {
  Random random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Next());
  return bytes;
}

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace edgetune
