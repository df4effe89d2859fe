#include "privacy/crypto/kdf.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include <array>

#include "privacy/crypto/openssl_util.h"

namespace edgetune {
namespace {

using KdfPtr = OpensslPtr<EVP_KDF, EVP_KDF_free>;
using KdfContextPtr = OpensslPtr<EVP_KDF_CTX, EVP_KDF_CTX_free>;

constexpr size_t kMaxBytes = 255 * 32;  // RFC 5869, section 2.3

// OpenSSL only reads what it is given here.
OSSL_PARAM Octets(const char* name, std::span<const uint8_t> bytes) {
  return OSSL_PARAM_construct_octet_string(
      name, const_cast<uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

absl::StatusOr<SecretBytes> HkdfSha256(const HkdfInput& input, size_t length) {
  if (length == 0 || length > kMaxBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "cannot derive {} bytes: 1 to {} are possible", length, kMaxBytes));
  }
  if (input.key.empty()) {
    return absl::InvalidArgumentError("cannot derive from an empty key");
  }
  const KdfPtr kdf(EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_HKDF, nullptr));
  const KdfContextPtr context(EVP_KDF_CTX_new(kdf.get()));
  if (context == nullptr) return OpensslError("cannot begin to derive a key");
  char sha256[] = "SHA256";
  std::array<OSSL_PARAM, 5> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
      Octets(OSSL_KDF_PARAM_KEY, input.key),
      Octets(OSSL_KDF_PARAM_INFO, input.info), OSSL_PARAM_construct_end(),
      OSSL_PARAM_construct_end()};
  // Without a salt OpenSSL takes the 32 zero bytes that the RFC asks for.
  if (!input.salt.empty()) {
    parameters[3] = Octets(OSSL_KDF_PARAM_SALT, input.salt);
  }
  SecretBytes derived(length);
  if (EVP_KDF_derive(context.get(), derived.bytes().data(), length,
                     parameters.data()) != 1) {
    return OpensslError("cannot derive a key");
  }
  return derived;
}

}  // namespace edgetune
