#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/status.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/openssl_util.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/crypto/signature.h"
#include "privacy/crypto/signing_request.h"

namespace edgetune {
namespace {

using BignumPtr = OpensslPtr<BIGNUM, BN_free>;
using IntegerPtr = OpensslPtr<ASN1_INTEGER, ASN1_INTEGER_free>;
using TimePtr = OpensslPtr<ASN1_TIME, ASN1_TIME_free>;
using ExtensionPtr = OpensslPtr<X509_EXTENSION, X509_EXTENSION_free>;
using GeneralNamesPtr = OpensslPtr<GENERAL_NAMES, GENERAL_NAMES_free>;
using GeneralNamePtr = OpensslPtr<GENERAL_NAME, GENERAL_NAME_free>;

constexpr size_t kSerialBytes = 16;

absl::Status SetSerial(X509* certificate) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string bytes, SecureRandom(kSerialBytes));
  // A serial is a positive integer; the second bit keeps its length.
  bytes[0] = static_cast<char>((bytes[0] & 0x3F) | 0x40);
  const BignumPtr number(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                static_cast<int>(bytes.size()), nullptr));
  if (number == nullptr) return OpensslError("cannot make a serial number");
  const IntegerPtr serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  if (serial == nullptr ||
      X509_set_serialNumber(certificate, serial.get()) != 1) {
    return OpensslError("cannot set a certificate's serial number");
  }
  return absl::OkStatus();
}

absl::Status SetDates(X509* certificate, absl::Time not_before,
                      absl::Time not_after) {
  if (not_after <= not_before) {
    return absl::InvalidArgumentError(
        fmt::format("a certificate would end before it begins: {} to {}",
                    absl::FormatTime(not_before, absl::UTCTimeZone()),
                    absl::FormatTime(not_after, absl::UTCTimeZone())));
  }
  const TimePtr from(ASN1_TIME_set(nullptr, absl::ToTimeT(not_before)));
  const TimePtr to(ASN1_TIME_set(nullptr, absl::ToTimeT(not_after)));
  if (from == nullptr || to == nullptr ||
      X509_set1_notBefore(certificate, from.get()) != 1 ||
      X509_set1_notAfter(certificate, to.get()) != 1) {
    return OpensslError("cannot set a certificate's dates");
  }
  return absl::OkStatus();
}

absl::Status SetSubject(X509* certificate, const std::string& common_name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  if (common_name.empty() ||
      X509_NAME_add_entry_by_txt(
          subject, "CN", MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(common_name.data()),
          static_cast<int>(common_name.size()), -1, 0) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(fmt::format(
        "'{}' cannot be a certificate's common name: wanted 1 to 64 "
        "characters",
        common_name));
  }
  return absl::OkStatus();
}

// `value` is always a constant of this file: OpenSSL's little configuration
// language must never see text from outside.
absl::Status AddExtension(X509* certificate, X509* issuer, int nid,
                          const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (extension == nullptr ||
      X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError(
        fmt::format("cannot add {} to a certificate", OBJ_nid2sn(nid)));
  }
  return absl::OkStatus();
}

absl::Status AddName(GENERAL_NAMES* names, int type, const std::string& text) {
  const bool printable = !text.empty() && text.size() <= 255 &&
                         std::all_of(text.begin(), text.end(),
                                     [](char c) { return c > ' ' && c < 127; });
  GeneralNamePtr name(GENERAL_NAME_new());
  ASN1_STRING* value = nullptr;
  if (type == GEN_IPADD) {
    value = printable ? a2i_IPADDRESS(text.c_str()) : nullptr;
  } else if (printable) {
    value = ASN1_IA5STRING_new();
    if (value != nullptr &&
        ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) !=
            1) {
      ASN1_STRING_free(value);
      value = nullptr;
    }
  }
  if (name == nullptr || value == nullptr) {
    ERR_clear_error();
    return absl::InvalidArgumentError(fmt::format(
        "'{}' cannot be {} of a certificate", text,
        type == GEN_IPADD ? "an IP address" : "an alternative name"));
  }
  GENERAL_NAME_set0_value(name.get(), type, value);
  if (sk_GENERAL_NAME_push(names, name.get()) == 0) {
    return OpensslError("cannot add an alternative name");
  }
  (void)name.release();  // the stack owns it now
  return absl::OkStatus();
}

absl::Status AddAlternativeNames(X509* certificate,
                                 const CertificateRequest& request) {
  const GeneralNamesPtr names(sk_GENERAL_NAME_new_null());
  if (names == nullptr) return OpensslError("cannot make a list of names");
  if (!request.uri.empty()) {
    EDGETUNE_RETURN_IF_ERROR(AddName(names.get(), GEN_URI, request.uri));
  }
  for (const std::string& name : request.dns_names) {
    EDGETUNE_RETURN_IF_ERROR(AddName(names.get(), GEN_DNS, name));
  }
  for (const std::string& address : request.addresses) {
    EDGETUNE_RETURN_IF_ERROR(AddName(names.get(), GEN_IPADD, address));
  }
  if (sk_GENERAL_NAME_num(names.get()) == 0) return absl::OkStatus();
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0,
                        X509V3_ADD_DEFAULT) != 1) {
    return OpensslError("cannot add the alternative names");
  }
  return absl::OkStatus();
}

// What a CA and a leaf have in common: version 3, serial, dates, subject, key.
absl::StatusOr<X509Ptr> NewCertificate(const std::string& common_name,
                                       absl::Time not_before,
                                       absl::Time not_after, EVP_PKEY* key) {
  X509Ptr certificate(X509_new());
  if (certificate == nullptr ||
      X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return OpensslError("cannot make a certificate");
  }
  EDGETUNE_RETURN_IF_ERROR(SetSerial(certificate.get()));
  EDGETUNE_RETURN_IF_ERROR(SetDates(certificate.get(), not_before, not_after));
  EDGETUNE_RETURN_IF_ERROR(SetSubject(certificate.get(), common_name));
  return certificate;
}

absl::StatusOr<std::string> SignAndWrite(X509* certificate,
                                         EVP_PKEY* issuer_key) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || X509_sign(certificate, issuer_key, EVP_sha256()) == 0 ||
      PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return OpensslError("cannot sign a certificate");
  }
  return BioText(bio.get());
}

absl::Status CheckRequest(const CertificateAndKey& ca,
                          const CertificateRequest& request) {
  if (!request.server_auth && !request.client_auth) {
    return absl::InvalidArgumentError(
        fmt::format("the certificate of '{}' would be for neither a server "
                    "nor a client",
                    request.common_name));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckKeyMatches(ca.certificate_pem, ca.key_pem));
  EDGETUNE_ASSIGN_OR_RETURN(CertificateFacts facts,
                            ReadCertificate(ca.certificate_pem));
  if (request.not_after > facts.not_after) {
    return absl::InvalidArgumentError(fmt::format(
        "the certificate of '{}' would outlive its CA, which ends at {}",
        request.common_name,
        absl::FormatTime(facts.not_after, absl::UTCTimeZone())));
  }
  return absl::OkStatus();
}

absl::Status AddLeafExtensions(X509* certificate, X509* issuer,
                               const CertificateRequest& request) {
  const char* usage = request.server_auth && request.client_auth
                          ? "serverAuth,clientAuth"
                      : request.server_auth ? "serverAuth"
                                            : "clientAuth";
  const std::pair<int, const char*> extensions[] = {
      {NID_basic_constraints, "critical,CA:FALSE"},
      {NID_key_usage, "critical,digitalSignature"},
      {NID_ext_key_usage, usage},
      {NID_subject_key_identifier, "hash"},
      {NID_authority_key_identifier, "keyid:always"},
  };
  for (const auto& [nid, value] : extensions) {
    EDGETUNE_RETURN_IF_ERROR(AddExtension(certificate, issuer, nid, value));
  }
  return AddAlternativeNames(certificate, request);
}

// A leaf certificate for the public part of `key`, signed by `ca`.
absl::StatusOr<std::string> Certify(const CertificateAndKey& ca,
                                    const CertificateRequest& request,
                                    EVP_PKEY* key) {
  EDGETUNE_RETURN_IF_ERROR(CheckRequest(ca, request));
  EDGETUNE_ASSIGN_OR_RETURN(
      X509Ptr issuer, ReadX509(ca.certificate_pem, "the CA's certificate"));
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr issuer_key,
                            ReadPrivateKey(ca.key_pem, "the CA's key"));
  EDGETUNE_ASSIGN_OR_RETURN(
      X509Ptr certificate,
      NewCertificate(request.common_name, request.not_before, request.not_after,
                     key));
  if (X509_set_issuer_name(certificate.get(),
                           X509_get_subject_name(issuer.get())) != 1) {
    return OpensslError("cannot set a certificate's issuer");
  }
  EDGETUNE_RETURN_IF_ERROR(
      AddLeafExtensions(certificate.get(), issuer.get(), request));
  return SignAndWrite(certificate.get(), issuer_key.get());
}

absl::StatusOr<CertificateAndKey> WithKey(
    absl::StatusOr<std::string> certificate_pem, const EVP_PKEY* key) {
  CertificateAndKey result;
  EDGETUNE_ASSIGN_OR_RETURN(result.certificate_pem, std::move(certificate_pem));
  EDGETUNE_ASSIGN_OR_RETURN(result.key_pem, WritePrivateKey(key));
  return result;
}

}  // namespace

absl::StatusOr<CertificateAndKey> MakeCertificateAuthority(
    const std::string& common_name, absl::Time not_before,
    absl::Time not_after) {
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr key, NewP256Key());
  EDGETUNE_ASSIGN_OR_RETURN(
      X509Ptr certificate,
      NewCertificate(common_name, not_before, not_after, key.get()));
  X509* ca = certificate.get();
  if (X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1) {
    return OpensslError("cannot set a certificate's issuer");
  }
  EDGETUNE_RETURN_IF_ERROR(AddExtension(ca, ca, NID_basic_constraints,
                                        "critical,CA:TRUE,pathlen:0"));
  EDGETUNE_RETURN_IF_ERROR(
      AddExtension(ca, ca, NID_key_usage, "critical,keyCertSign"));
  EDGETUNE_RETURN_IF_ERROR(
      AddExtension(ca, ca, NID_subject_key_identifier, "hash"));
  return WithKey(SignAndWrite(ca, key.get()), key.get());
}

absl::StatusOr<CertificateAndKey> IssueCertificate(
    const CertificateAndKey& ca, const CertificateRequest& request) {
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr key, NewP256Key());
  return WithKey(Certify(ca, request, key.get()), key.get());
}

absl::StatusOr<std::string> CertifyRequest(const CertificateAndKey& ca,
                                           const CertificateRequest& request,
                                           std::string_view request_der) {
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr key, KeyOfSigningRequest(request_der));
  return Certify(ca, request, key.get());
}

}  // namespace edgetune
