#include "server/rpc/enrollment_server.h"

#include <utility>

#include "base/status.h"
#include "edgetune/v1/enrollment.grpc.pb.h"
#include "server/rpc/caller.h"
#include "server/rpc/listener.h"
#include "server/rpc/reactors.h"

namespace edgetune {
namespace {

// A request has a token, a key, a proof and 4 KiB of CSR.
constexpr int kLargestRequest = 16 << 10;
constexpr size_t kMemory = 64 << 20;

// "ipv4:203.0.113.7:50123" without its port: the next connection has another.
std::string AddressOf(const std::string& peer) {
  return peer.substr(0, peer.rfind(':'));
}

class EnrollmentService final : public v1::Enrollment::CallbackService {
 public:
  explicit EnrollmentService(EnrollmentOffice* office) : office_(office) {}

  grpc::ServerUnaryReactor* Enroll(grpc::CallbackServerContext* context,
                                   const v1::EnrollRequest* request,
                                   v1::EnrollResponse* response) override {
    return AnswerUnary(context,
                       office_->Enroll(*request, AddressOf(context->peer())),
                       response);
  }

  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const v1::RenewRequest* request,
                                  v1::EnrollResponse* response) override {
    const auto device =
        CallerWithRole(*context, PartyRole::kDevice, "Enrollment");
    if (!device.ok()) return FinishUnary(context, device.status());
    return AnswerUnary(context, office_->Renew(*device, *request), response);
  }

 private:
  EnrollmentOffice* const office_;
};

class GrpcEnrollmentServer final : public EnrollmentServer {
 public:
  explicit GrpcEnrollmentServer(EnrollmentOffice* office) : service_(office) {}
  ~GrpcEnrollmentServer() override { Shutdown(); }

  absl::Status Listen(const std::string& listen, const Kit& kit) {
    EDGETUNE_ASSIGN_OR_RETURN(
        listener_, Listener::Start({.listen = listen,
                                    .role = PartyRole::kEnrollment,
                                    .require_certificate = false,
                                    .largest_message = kLargestRequest,
                                    .memory = kMemory},
                                   kit, {&service_}));
    return absl::OkStatus();
  }

  int port() const override { return listener_->port(); }
  void Shutdown() override {
    if (listener_ != nullptr) listener_->Shutdown();
  }

 private:
  EnrollmentService service_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EnrollmentServer>> EnrollmentServer::Start(
    const std::string& listen, const Kit& kit, EnrollmentOffice* office) {
  auto server = std::make_unique<GrpcEnrollmentServer>(office);
  EDGETUNE_RETURN_IF_ERROR(server->Listen(listen, kit));
  return absl::StatusOr<std::unique_ptr<EnrollmentServer>>(std::move(server));
}

}  // namespace edgetune
