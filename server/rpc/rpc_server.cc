#include "server/rpc/rpc_server.h"

#include <fmt/format.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "base/status.h"
#include "protos/grpc_setup.h"
#include "server/rpc/federation_service.h"
#include "server/rpc/listen_check.h"
#include "server/rpc/operator_service.h"
#include "server/rpc/upload_slots.h"

namespace edgetune {
namespace {

constexpr int kSecondMs = 1000;
constexpr int kMinuteMs = 60 * kSecondMs;
constexpr std::chrono::milliseconds kShutdownGrace(500);

// Only a client whose certificate is of the kit's CA gets past the handshake.
std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const Kit& kit) {
  auto provider =
      std::make_shared<grpc::experimental::StaticDataCertificateProvider>(
          kit.ca_pem, std::vector<grpc::experimental::IdentityKeyCertPair>{
                          {kit.key_pem, kit.certificate_pem}});
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(4 << 20);
  const std::pair<const char*, int> limits[] = {
      {GRPC_ARG_MAX_METADATA_SIZE, 8 << 10},
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, 16},
      {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10 * kSecondMs},
      {GRPC_ARG_KEEPALIVE_TIME_MS, 60 * kSecondMs},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20 * kSecondMs},
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 30 * kSecondMs},
      {GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2},
      {GRPC_ARG_MAX_CONNECTION_IDLE_MS, 5 * kMinuteMs},
      {GRPC_ARG_MAX_CONNECTION_AGE_MS, 10 * kMinuteMs},
      {GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 60 * kSecondMs},
      // Two servers on one port would share its connections silently.
      {GRPC_ARG_ALLOW_REUSEPORT, 0},
  };
  for (const auto& [name, value] : limits) {
    builder.AddChannelArgument(name, value);
  }
  builder.SetResourceQuota(
      grpc::ResourceQuota("edgetune").Resize(512 << 20).SetMaxThreads(64));
}

class GrpcServer final : public RpcServer {
 public:
  GrpcServer(Coordinator* coordinator, BlobStore* blobs)
      : federation_(coordinator, blobs, &slots_),
        operator_(coordinator, blobs, &slots_) {}
  ~GrpcServer() override { Shutdown(); }

  absl::Status Listen(const std::string& listen, const Kit& kit) {
    grpc::ServerBuilder builder;
    SetLimits(builder);
    builder.AddListeningPort(listen, MakeCredentials(kit), &port_);
    builder.RegisterService(&federation_);
    builder.RegisterService(&operator_);
    server_ = builder.BuildAndStart();
    if (server_ != nullptr && port_ > 0) return absl::OkStatus();
    return Annotate(absl::FailedPreconditionError(
                        fmt::format("cannot listen on {}", listen)),
                    ErrorKind::kPortInUse,
                    "another program may have taken the port just now");
  }

  int port() const override { return port_; }

  void Shutdown() override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    server_->Wait();
    server_.reset();
  }

 private:
  UploadSlots slots_;
  FederationService federation_;
  OperatorService operator_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

absl::Status CheckKit(const Kit& kit) {
  if (kit.identity.role == PartyRole::kServer && !kit.key_pem.empty() &&
      !kit.certificate_pem.empty() && !kit.ca_pem.empty()) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "the server needs a whole kit of role \"server\", got one of \"{}\"",
          PartyRoleName(kit.identity.role))),
      ErrorKind::kIdentity, "use the server/ folder that provision wrote");
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    const std::string& listen, const Kit& kit, Coordinator* coordinator,
    BlobStore* blobs) {
  EDGETUNE_RETURN_IF_ERROR(CheckKit(kit));
  EDGETUNE_RETURN_IF_ERROR(CheckListenAddress(listen));
  PrepareGrpc();
  auto server = std::make_unique<GrpcServer>(coordinator, blobs);
  EDGETUNE_RETURN_IF_ERROR(server->Listen(listen, kit));
  return absl::StatusOr<std::unique_ptr<RpcServer>>(std::move(server));
}

}  // namespace edgetune
