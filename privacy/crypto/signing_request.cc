#include "privacy/crypto/signing_request.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <string>

#include "base/status.h"
#include "privacy/crypto/certificate.h"

namespace edgetune {
namespace {

using RequestPtr = OpensslPtr<X509_REQ, X509_REQ_free>;

constexpr size_t kMaxRequestBytes = 4096;

absl::Status Refuse(std::string_view problem) {
  ERR_clear_error();
  return absl::InvalidArgumentError(
      fmt::format("a certificate signing request {}", problem));
}

absl::StatusOr<RequestPtr> Parse(std::string_view der) {
  if (der.empty() || der.size() > kMaxRequestBytes) {
    return Refuse(fmt::format("has {} bytes, wanted 1 to {}", der.size(),
                              kMaxRequestBytes));
  }
  const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* at = begin;
  RequestPtr request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  if (request == nullptr) return Refuse("cannot be parsed");
  if (at != begin + der.size()) return Refuse("has bytes after its end");
  return request;
}

// A curve that was written out may be another one with P-256's name.
bool IsNamedP256(const EVP_PKEY* key) {
  char group[16] = "";
  size_t size = 0;
  int written_out = 1;
  return EVP_PKEY_is_a(key, "EC") == 1 &&
         EVP_PKEY_get_group_name(key, group, sizeof(group), &size) == 1 &&
         std::string_view(group) == SN_X9_62_prime256v1 &&
         EVP_PKEY_get_int_param(key,
                                OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                &written_out) == 1 &&
         written_out == 0;
}

// X509_NAME that X509_REQ owns.
absl::Status SetName(X509_REQ* request, const std::string& common_name) {
  if (!common_name.empty() &&
      X509_NAME_add_entry_by_txt(
          X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(common_name.data()),
          static_cast<int>(common_name.size()), -1, 0) == 1) {
    return absl::OkStatus();
  }
  return Refuse(fmt::format("cannot name '{}'", common_name));
}

}  // namespace

absl::StatusOr<PkeyPtr> NewP256Key() {
  PkeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpensslError("cannot make a key");
  return key;
}

absl::StatusOr<PkeyPtr> KeyOfSigningRequest(std::string_view der) {
  EDGETUNE_ASSIGN_OR_RETURN(const RequestPtr request, Parse(der));
  PkeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (key == nullptr || !IsNamedP256(key.get())) {
    return Refuse("is not for a key on the curve P-256");
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    return Refuse("is not signed with its own key");
  }
  return key;
}

absl::StatusOr<SigningRequest> MakeSigningRequest(
    const std::string& common_name) {
  EDGETUNE_ASSIGN_OR_RETURN(const PkeyPtr key, NewP256Key());
  const RequestPtr request(X509_REQ_new());
  if (request == nullptr ||
      X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1) {
    return OpensslError("cannot make a certificate signing request");
  }
  EDGETUNE_RETURN_IF_ERROR(SetName(request.get(), common_name));
  unsigned char* der = nullptr;
  if (X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0) {
    return OpensslError("cannot sign a certificate signing request");
  }
  const int size = i2d_X509_REQ(request.get(), &der);
  if (size <= 0) {
    return OpensslError("cannot write a certificate signing request");
  }
  SigningRequest result;
  result.request_der.assign(reinterpret_cast<char*>(der),
                            static_cast<size_t>(size));
  OPENSSL_free(der);
  EDGETUNE_ASSIGN_OR_RETURN(result.key_pem, WritePrivateKey(key.get()));
  return result;
}

}  // namespace edgetune
