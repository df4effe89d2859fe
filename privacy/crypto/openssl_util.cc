#include "privacy/crypto/openssl_util.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace edgetune {
namespace {

constexpr size_t kMaxPemBytes = 1 << 20;

// Without it OpenSSL would ask on the terminal.
int NoPassPhrase(char*, int, int, void*) { return -1; }

template <typename Ptr, typename Read>
absl::StatusOr<Ptr> ReadPem(std::string_view pem, std::string_view what,
                            const Read& read) {
  if (pem.size() > kMaxPemBytes) {
    return absl::InvalidArgumentError(
        fmt::format("cannot read {}: {} bytes, at most {} are read", what,
                    pem.size(), kMaxPemBytes));
  }
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (bio == nullptr) return OpensslError("cannot make a buffer");
  Ptr object(read(bio.get()));
  if (object != nullptr) return object;
  const absl::Status reason = OpensslError("");
  return absl::InvalidArgumentError(
      fmt::format("cannot read {}{}", what, std::string(reason.message())));
}

}  // namespace

absl::Status OpensslError(std::string_view what) {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return absl::InternalError(fmt::format(
      "{}: {}", what, reason == nullptr ? "not in the right form" : reason));
}

absl::StatusOr<PkeyPtr> ReadPrivateKey(std::string_view pem,
                                       std::string_view what) {
  return ReadPem<PkeyPtr>(pem, what, [](BIO* bio) {
    return PEM_read_bio_PrivateKey(bio, nullptr, NoPassPhrase, nullptr);
  });
}

absl::StatusOr<PkeyPtr> ReadPublicKey(std::string_view pem,
                                      std::string_view what) {
  return ReadPem<PkeyPtr>(pem, what, [](BIO* bio) {
    return PEM_read_bio_PUBKEY(bio, nullptr, NoPassPhrase, nullptr);
  });
}

absl::StatusOr<X509Ptr> ReadX509(std::string_view pem, std::string_view what) {
  return ReadPem<X509Ptr>(pem, what, [](BIO* bio) {
    return PEM_read_bio_X509(bio, nullptr, NoPassPhrase, nullptr);
  });
}

absl::StatusOr<std::string> WritePrivateKey(const EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_secmem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0,
                                    nullptr, nullptr) != 1) {
    return OpensslError("cannot write a private key");
  }
  return BioText(bio.get());
}

std::string BioText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size))
                  : std::string();
}

}  // namespace edgetune
