#include "client/grpc/channel.h"

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <functional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "protos/grpc_setup.h"

namespace edgetune {
namespace {

namespace tls = grpc::experimental;

// After OpenSSL accepted the chain: the certificate is for the host dialled,
// and its holder has the role wanted. Without the second check any device of
// the fleet, whose certificate is of the same CA, could pose as one.
class ServerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  explicit ServerVerifier(PartyRole wanted) : wanted_(wanted) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> callback,
              grpc::Status* sync_status) override {
    host_.Verify(request, nullptr, sync_status);
    if (!sync_status->ok()) return true;
    std::vector<std::string> uris;
    for (const grpc::string_ref& uri : request->uri_names()) {
      uris.emplace_back(uri.data(), uri.size());
    }
    auto identity = IdentityFromUris(uris);
    if (!identity.ok() || identity->role != wanted_) {
      *sync_status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                                  "Peer is not a server by its URI");
    }
    return true;
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  const PartyRole wanted_;
  tls::HostNameCertificateVerifier host_;
};

std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const Kit& kit,
                                                          PartyRole peer) {
  tls::TlsChannelCredentialsOptions options;
  std::vector<tls::IdentityKeyCertPair> pairs;
  if (!kit.key_pem.empty()) {
    pairs.push_back({kit.key_pem, kit.certificate_pem});
    options.watch_identity_key_cert_pairs();
  }
  options.set_certificate_provider(
      std::make_shared<tls::StaticDataCertificateProvider>(kit.ca_pem, pairs));
  options.watch_root_certs();
  options.set_verify_server_certs(true);
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<ServerVerifier>(peer));
  options.set_check_call_host(false);  // the verifier did, at the handshake
  return tls::TlsCredentials(options);
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const Kit& kit,
                                           const std::string& address,
                                           PartyRole peer) {
  PrepareGrpc();
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(4 << 20);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 30'000);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, MakeCredentials(kit, peer), args);
}

absl::StatusOr<std::string> ChooseAddress(const Kit& kit,
                                          const std::string& address) {
  const std::string& chosen = address.empty() ? kit.server_address : address;
  size_t colon = chosen.rfind(':');
  if (colon != std::string::npos && colon > 0 && colon + 1 < chosen.size() &&
      chosen.find_first_not_of("0123456789", colon + 1) == std::string::npos) {
    return chosen;
  }
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "server address \"{}\" is not of the form host:port", chosen)),
      ErrorKind::kConfig, "for example localhost:7443");
}

void SetDeadline(grpc::ClientContext& context, absl::Duration in) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + in));
}

absl::Duration TransferTime(uint64_t bytes) {
  return absl::Minutes(1) + absl::Seconds(bytes / (32 << 10));
}

}  // namespace edgetune
