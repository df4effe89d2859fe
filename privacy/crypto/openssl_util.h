#ifndef EDGETUNE_PRIVACY_CRYPTO_OPENSSL_UTIL_H_
#define EDGETUNE_PRIVACY_CRYPTO_OPENSSL_UTIL_H_

// Ownership and reading of OpenSSL objects; for this room and its tests only.

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace edgetune {

template <auto Free>
struct OpensslDeleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <typename T, auto Free>
using OpensslPtr = std::unique_ptr<T, OpensslDeleter<Free>>;

using BioPtr = OpensslPtr<BIO, BIO_free_all>;
using CipherContextPtr = OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using PkeyPtr = OpensslPtr<EVP_PKEY, EVP_PKEY_free>;
using X509Ptr = OpensslPtr<X509, X509_free>;

// Internal: `what`, and the last reason in OpenSSL's queue, which is emptied.
absl::Status OpensslError(std::string_view what);

// Readers never ask for a pass phrase: an encrypted key is refused.
// InvalidArgument names `what`.
absl::StatusOr<PkeyPtr> ReadPrivateKey(std::string_view pem,
                                       std::string_view what);
absl::StatusOr<PkeyPtr> ReadPublicKey(std::string_view pem,
                                      std::string_view what);
absl::StatusOr<X509Ptr> ReadX509(std::string_view pem, std::string_view what);

// PKCS #8 PEM of a key; the buffer in between is wiped.
absl::StatusOr<std::string> WritePrivateKey(const EVP_PKEY* key);
std::string BioText(BIO* bio);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_OPENSSL_UTIL_H_
