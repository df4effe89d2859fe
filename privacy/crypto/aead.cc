#include "privacy/crypto/aead.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <limits>

#include "base/status.h"
#include "privacy/crypto/openssl_util.h"

namespace edgetune {
namespace {

// OpenSSL counts bytes in int.
constexpr size_t kMaxBytes = std::numeric_limits<int>::max() - kAesGcmTagBytes;

absl::Status CheckSizes(const AesGcmContext& context, size_t text_bytes) {
  if (context.key.size() != kAesGcmKeyBytes ||
      context.nonce.size() != kAesGcmNonceBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "AES-GCM: got a key of {} bytes and a nonce of {}, wanted {} and {}",
        context.key.size(), context.nonce.size(), kAesGcmKeyBytes,
        kAesGcmNonceBytes));
  }
  if (text_bytes > kMaxBytes || context.aad.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        fmt::format("AES-GCM: got {} bytes of text and {} beside it, at most "
                    "{} each are possible",
                    text_bytes, context.aad.size(), kMaxBytes));
  }
  return absl::OkStatus();
}

int Size(std::span<const uint8_t> bytes) {
  return static_cast<int>(bytes.size());
}

}  // namespace

absl::StatusOr<std::string> SealAesGcm(const AesGcmContext& context,
                                       std::span<const uint8_t> plaintext) {
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(context, plaintext.size()));
  std::string sealed(plaintext.size() + kAesGcmTagBytes, '\0');
  auto* out = reinterpret_cast<uint8_t*>(sealed.data());
  const CipherContextPtr cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  if (cipher == nullptr ||
      EVP_EncryptInit_ex2(cipher.get(), EVP_aes_256_gcm(), context.key.data(),
                          context.nonce.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(cipher.get(), nullptr, &size, context.aad.data(),
                        Size(context.aad)) != 1 ||
      EVP_EncryptUpdate(cipher.get(), out, &size, plaintext.data(),
                        Size(plaintext)) != 1 ||
      EVP_EncryptFinal_ex(cipher.get(), out + plaintext.size(), &size) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kAesGcmTagBytes,
                          out + plaintext.size()) != 1) {
    return OpensslError("cannot seal");
  }
  return sealed;
}

absl::StatusOr<SecretBytes> OpenAesGcm(const AesGcmContext& context,
                                       std::span<const uint8_t> sealed) {
  if (sealed.size() < kAesGcmTagBytes) {
    return absl::InvalidArgumentError(
        fmt::format("AES-GCM: got {} sealed bytes, wanted {} or more",
                    sealed.size(), kAesGcmTagBytes));
  }
  const std::span<const uint8_t> text =
      sealed.first(sealed.size() - kAesGcmTagBytes);
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(context, text.size()));
  // OpenSSL only reads the tag.
  auto* tag = const_cast<uint8_t*>(sealed.last(kAesGcmTagBytes).data());
  SecretBytes plaintext(text.size());
  uint8_t* out = plaintext.bytes().data();
  const CipherContextPtr cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  if (cipher == nullptr ||
      EVP_DecryptInit_ex2(cipher.get(), EVP_aes_256_gcm(), context.key.data(),
                          context.nonce.data(), nullptr) != 1 ||
      EVP_DecryptUpdate(cipher.get(), nullptr, &size, context.aad.data(),
                        Size(context.aad)) != 1 ||
      EVP_DecryptUpdate(cipher.get(), out, &size, text.data(), Size(text)) !=
          1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kAesGcmTagBytes,
                          tag) != 1) {
    return OpensslError("cannot open a sealed text");
  }
  uint8_t nothing_more = 0;
  if (EVP_DecryptFinal_ex(cipher.get(), &nothing_more, &size) != 1) {
    ERR_clear_error();
    return absl::PermissionDeniedError(
        "a sealed text, its key or its context is not what the sealer had");
  }
  return plaintext;
}

}  // namespace edgetune
