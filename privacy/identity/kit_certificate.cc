#include "privacy/identity/kit_certificate.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/status.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

bool IsAddress(const std::string& host) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

void AddServerNames(const std::string& host, CertificateRequest* request) {
  request->dns_names = {"localhost"};
  request->addresses = {"127.0.0.1", "::1"};
  auto& names = IsAddress(host) ? request->addresses : request->dns_names;
  if (std::find(names.begin(), names.end(), host) == names.end()) {
    names.push_back(host);
  }
}

}  // namespace

absl::Status WriteNewTls(const CertificateAndKey& ca, const KitDescription& kit,
                         absl::Time now, absl::Duration life,
                         const std::string& directory) {
  const PartyRole role = kit.identity.role;
  CertificateRequest request;
  request.common_name = kit.identity.id;
  request.uri = IdentityUri(kit.identity);
  request.not_before = now - kClockSkew;
  request.not_after = now + life;
  request.server_auth =
      role == PartyRole::kServer || role == PartyRole::kEnrollment;
  request.client_auth = !request.server_auth;
  if (request.server_auth) {
    const auto host = HostOf(role == PartyRole::kServer ? kit.server_address
                                                        : kit.enroll_address);
    if (host.has_value()) AddServerNames(*host, &request);
  }
  EDGETUNE_ASSIGN_OR_RETURN(CertificateAndKey made,
                            IssueCertificate(ca, request));
  std::string both = made.key_pem + made.certificate_pem;
  const absl::Status status = WriteKitFile(directory, kTlsFile, both);
  WipeString(both);
  WipeString(made.key_pem);
  return status;
}

}  // namespace edgetune
