#include "server/rpc/listener.h"

#include <fmt/format.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "base/status.h"
#include "protos/grpc_setup.h"
#include "server/rpc/listen_check.h"

namespace edgetune {
namespace {

constexpr int kSecondMs = 1000;
constexpr int kMinuteMs = 60 * kSecondMs;
constexpr unsigned kRefreshSeconds = 1;
constexpr std::chrono::milliseconds kShutdownGrace(500);

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(
    const Kit& kit, bool require_certificate) {
  // Key and certificate are one file, so a swap in between two reads of it is
  // seen by its time stamp and read again.
  auto provider =
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          TlsPathOf(kit), TlsPathOf(kit), CaPathOf(kit), kRefreshSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(
      require_certificate
          ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
          : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

void SetLimits(const ListenOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(options.largest_message);
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
      grpc::ResourceQuota("edgetune").Resize(options.memory).SetMaxThreads(64));
}

absl::Status CheckKit(const Kit& kit, PartyRole role) {
  if (kit.identity.role == role && !kit.directory.empty()) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "wanted a whole kit of role \"{}\" on disk, got one of \"{}\"",
          PartyRoleName(role), PartyRoleName(kit.identity.role))),
      ErrorKind::kIdentity, "use the folder that provision wrote for it");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(
    const ListenOptions& options, const Kit& kit,
    const std::vector<grpc::Service*>& services) {
  EDGETUNE_RETURN_IF_ERROR(CheckKit(kit, options.role));
  EDGETUNE_RETURN_IF_ERROR(CheckListenAddress(options.listen));
  PrepareGrpc();
  std::unique_ptr<Listener> listener(new Listener());
  grpc::ServerBuilder builder;
  SetLimits(options, builder);
  builder.AddListeningPort(options.listen,
                           MakeCredentials(kit, options.require_certificate),
                           &listener->port_);
  for (grpc::Service* service : services) builder.RegisterService(service);
  listener->server_ = builder.BuildAndStart();
  if (listener->server_ != nullptr && listener->port_ > 0) return listener;
  return Annotate(absl::FailedPreconditionError(
                      fmt::format("cannot listen on {}", options.listen)),
                  ErrorKind::kPortInUse,
                  "another program may have taken the port just now");
}

void Listener::Shutdown() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  server_->Wait();
  server_.reset();
}

}  // namespace edgetune
