#ifndef EDGETUNE_PRIVACY_CRYPTO_CERTIFICATE_H_
#define EDGETUNE_PRIVACY_CRYPTO_CERTIFICATE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace edgetune {

// An X.509 certificate and its private key, both PEM. Keys are ECDSA P-256.
struct CertificateAndKey {
  std::string certificate_pem;
  std::string key_pem;
};

struct CertificateRequest {
  std::string common_name;
  std::string uri;                     // SAN URI, e.g. edgetune://device/d1
  std::vector<std::string> dns_names;  // SAN DNS names (servers)
  std::vector<std::string> addresses;  // SAN IP addresses, text form
  bool server_auth = false;            // extended key usage
  bool client_auth = false;
  absl::Time not_before;
  absl::Time not_after;
};

struct CertificateFacts {
  std::string common_name;
  std::vector<std::string> uris;
  absl::Time not_before;
  absl::Time not_after;
  std::string sha256;  // fingerprint, 32 bytes
};

// A self-signed CA (path length 0, key usage certSign).
absl::StatusOr<CertificateAndKey> MakeCertificateAuthority(
    const std::string& common_name, absl::Time not_before,
    absl::Time not_after);
// A fresh key and a leaf certificate signed by `ca`.
absl::StatusOr<CertificateAndKey> IssueCertificate(
    const CertificateAndKey& ca, const CertificateRequest& request);

// A fresh key and a request (PKCS #10, DER) to certify it, signed with it.
struct SigningRequest {
  std::string request_der;
  std::string key_pem;
};
absl::StatusOr<SigningRequest> MakeSigningRequest(
    const std::string& common_name);
// A certificate (PEM) for the key of a request that somebody else sent; of the
// request nothing but the key counts. InvalidArgument: larger than 4 KiB,
// malformed, a key that is not of P-256, or not signed by that key.
absl::StatusOr<std::string> CertifyRequest(const CertificateAndKey& ca,
                                           const CertificateRequest& request,
                                           std::string_view request_der);

// First certificate of a PEM text. InvalidArgument.
absl::StatusOr<CertificateFacts> ReadCertificate(std::string_view pem);
// Whether the private key belongs to the certificate; InvalidArgument names
// which of the two cannot be read.
absl::Status CheckKeyMatches(std::string_view certificate_pem,
                             std::string_view key_pem);
// Whether `certificate_pem` is signed by `ca_pem`. PermissionDenied if not.
absl::Status CheckIssuedBy(std::string_view certificate_pem,
                           std::string_view ca_pem);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_CERTIFICATE_H_
