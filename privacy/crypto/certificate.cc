#include "privacy/crypto/certificate.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "base/status.h"
#include "privacy/crypto/openssl_util.h"

namespace edgetune {
namespace {

using GeneralNamesPtr = OpensslPtr<GENERAL_NAMES, GENERAL_NAMES_free>;

absl::StatusOr<absl::Time> ToTime(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("a certificate has no readable dates");
  }
  return absl::FromTimeT(timegm(&parts));
}

std::string CommonName(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return "";
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(
      &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (size < 0) {
    ERR_clear_error();
    return "";
  }
  std::string name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name;
}

absl::StatusOr<std::vector<std::string>> Uris(const X509* certificate) {
  std::vector<std::string> uris;
  int critical = 0;
  const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr)));
  if (names == nullptr) {
    ERR_clear_error();
    if (critical == -1) return uris;  // the extension is absent
    return absl::InvalidArgumentError(
        "a certificate's subject alternative names cannot be read");
  }
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                      static_cast<size_t>(ASN1_STRING_length(uri)));
  }
  return uris;
}

}  // namespace

absl::StatusOr<CertificateFacts> ReadCertificate(std::string_view pem) {
  EDGETUNE_ASSIGN_OR_RETURN(X509Ptr certificate,
                            ReadX509(pem, "a certificate"));
  CertificateFacts facts;
  facts.common_name = CommonName(certificate.get());
  EDGETUNE_ASSIGN_OR_RETURN(facts.uris, Uris(certificate.get()));
  EDGETUNE_ASSIGN_OR_RETURN(facts.not_before,
                            ToTime(X509_get0_notBefore(certificate.get())));
  EDGETUNE_ASSIGN_OR_RETURN(facts.not_after,
                            ToTime(X509_get0_notAfter(certificate.get())));
  facts.sha256.resize(32);
  if (X509_digest(certificate.get(), EVP_sha256(),
                  reinterpret_cast<unsigned char*>(facts.sha256.data()),
                  nullptr) != 1) {
    return OpensslError("cannot hash a certificate");
  }
  return facts;
}

absl::Status CheckKeyMatches(std::string_view certificate_pem,
                             std::string_view key_pem) {
  EDGETUNE_ASSIGN_OR_RETURN(X509Ptr certificate,
                            ReadX509(certificate_pem, "the certificate"));
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr key,
                            ReadPrivateKey(key_pem, "the private key"));
  const bool matches =
      X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (matches) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("the private key does not belong to the certificate of '{}'",
                  CommonName(certificate.get())));
}

absl::Status CheckIssuedBy(std::string_view certificate_pem,
                           std::string_view ca_pem) {
  EDGETUNE_ASSIGN_OR_RETURN(X509Ptr certificate,
                            ReadX509(certificate_pem, "the certificate"));
  EDGETUNE_ASSIGN_OR_RETURN(X509Ptr ca,
                            ReadX509(ca_pem, "the CA's certificate"));
  // 1: a version 3 certificate whose basic constraints say CA.
  const bool is_ca = X509_check_ca(ca.get()) == 1;
  const bool issued =
      is_ca && X509_check_issued(ca.get(), certificate.get()) == X509_V_OK &&
      X509_verify(certificate.get(), X509_get0_pubkey(ca.get())) == 1;
  ERR_clear_error();
  if (issued) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("the certificate of '{}' is not signed by '{}'{}",
                  CommonName(certificate.get()), CommonName(ca.get()),
                  is_ca ? "" : ", which is not a certificate authority"));
}

}  // namespace edgetune
