#include "client/grpc/enrollment_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "client/grpc/channel.h"
#include "edgetune/v1/enrollment.grpc.pb.h"
#include "privacy/crypto/certificate.h"

namespace edgetune {
namespace {

constexpr absl::Duration kCallTime = absl::Seconds(30);
constexpr absl::Duration kRetry = absl::Hours(1);
// Wall clocks jump and laptops sleep: the time is looked at again this often.
constexpr absl::Duration kLongestSleep = absl::Minutes(1);

using Stub = v1::Enrollment::Stub;

// One call of the enrolment service, as whoever `kit` says.
template <typename Request>
absl::StatusOr<std::string> Call(
    const Kit& kit, const std::string& address,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 v1::EnrollResponse*),
    const Request& request) {
  const auto stub = v1::Enrollment::NewStub(
      MakeChannel(kit, address, PartyRole::kEnrollment));
  grpc::ClientContext context;
  SetDeadline(context, kCallTime);
  v1::EnrollResponse response;
  const grpc::Status status = ((*stub).*method)(&context, request, &response);
  if (!status.ok()) return CallStatus(status, address);
  return std::move(*response.mutable_certificate());
}

absl::StatusOr<std::string> AddressOf(const std::string& wanted,
                                      const std::string& known) {
  const std::string& address = wanted.empty() ? known : wanted;
  if (HostOf(address).has_value()) return address;
  return Annotate(
      absl::FailedPreconditionError(fmt::format(
          "the enrolment service's address \"{}\" is not host:port", address)),
      ErrorKind::kConfig,
      "name it: enroll = \"host:port\" in client.toml, or --enroll");
}

// A caller without a certificate, who knows whom to believe.
Kit Stranger(const Invitation& invitation) {
  Kit kit;
  kit.identity = {PartyRole::kDevice, invitation.name};
  kit.ca_pem = invitation.ca_pem;
  return kit;
}

absl::StatusOr<v1::EnrollRequest> MakeEnrollRequest(
    const Invitation& invitation, const PendingKit& pending) {
  v1::EnrollRequest request;
  request.set_token(invitation.token);
  request.set_csr(pending.request_der);
  request.set_identity_key(pending.identity_key.public_key().raw());
  EDGETUNE_ASSIGN_OR_RETURN(
      *request.mutable_proof(),
      pending.identity_key.Sign(EnrollProofBytes(request.token(), request.csr(),
                                                 request.identity_key())));
  return request;
}

}  // namespace

absl::Status EnrollDevice(const Invitation& invitation,
                          const std::string& directory,
                          const std::string& address) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string chosen,
                            AddressOf(address, invitation.enroll_address));
  EDGETUNE_ASSIGN_OR_RETURN(PendingKit pending,
                            PrepareKit(directory, invitation.name));
  EDGETUNE_ASSIGN_OR_RETURN(v1::EnrollRequest request,
                            MakeEnrollRequest(invitation, pending));
  const auto certificate =
      Call(Stranger(invitation), chosen, &Stub::Enroll, request);
  WipeString(*request.mutable_token());
  EDGETUNE_RETURN_IF_ERROR(certificate);
  return FinishKit(invitation, *certificate, absl::Now(), &pending);
}

absl::Status RenewKit(const std::string& address, absl::Time now, Kit* kit) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string chosen,
                            AddressOf(address, kit->enroll_address));
  if (!kit->identity_key_pem.has_value()) {
    return absl::FailedPreconditionError("a device's kit alone is renewed");
  }
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey identity,
                            SigningKey::FromPem(*kit->identity_key_pem));
  EDGETUNE_ASSIGN_OR_RETURN(SigningRequest made,
                            MakeSigningRequest(kit->identity.id));
  v1::RenewRequest request;
  request.set_csr(made.request_der);
  EDGETUNE_ASSIGN_OR_RETURN(
      *request.mutable_proof(),
      identity.Sign(RenewProofBytes(kit->identity.id, request.csr())));
  const auto certificate = Call(*kit, chosen, &Stub::Renew, request);
  absl::Status status = certificate.status();
  if (status.ok()) {
    status = ReplaceCertificate(made.key_pem, *certificate, now, kit);
  }
  WipeString(made.key_pem);
  return status;
}

absl::StatusOr<absl::Time> RenewalTime(const Kit& kit) {
  EDGETUNE_ASSIGN_OR_RETURN(const CertificateFacts facts,
                            ReadCertificate(kit.certificate_pem));
  return facts.not_before + (facts.not_after - facts.not_before) * 2 / 3;
}

KitRenewal::KitRenewal(Kit kit, std::string address, const Clock* clock)
    : kit_(std::move(kit)),
      address_(std::move(address)),
      clock_(clock),
      thread_([this] { Serve(); }) {}

KitRenewal::~KitRenewal() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    changed_.notify_all();
  }
  thread_.join();
  WipeString(kit_.key_pem);
}

void KitRenewal::Serve() {
  absl::Time next = RenewalTime(kit_).value_or(absl::InfiniteFuture());
  std::unique_lock<std::mutex> lock(mu_);
  while (!stopped_) {
    const absl::Time now = clock_->Now();
    if (now < next) {
      changed_.wait_for(
          lock, absl::ToChronoNanoseconds(std::min(next - now, kLongestSleep)));
      continue;
    }
    lock.unlock();
    const absl::Status status = RenewKit(address_, now, &kit_);
    if (status.ok()) {
      LogInfo("the device's certificate was renewed");
      next = RenewalTime(kit_).value_or(absl::InfiniteFuture());
    } else {
      LogWarning(fmt::format("the device's certificate was not renewed: {}",
                             std::string(status.message())));
      next = now + kRetry;
    }
    lock.lock();
  }
}

}  // namespace edgetune
