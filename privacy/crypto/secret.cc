#include "privacy/crypto/secret.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

namespace edgetune {

SecretBytes::SecretBytes(size_t n)
    : data_(n == 0 ? nullptr : std::make_unique<uint8_t[]>(n)), size_(n) {}

SecretBytes SecretBytes::Copy(std::span<const uint8_t> bytes) {
  SecretBytes copy(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.data_.get());
  return copy;
}

SecretBytes::~SecretBytes() {
  if (data_ != nullptr) OPENSSL_cleanse(data_.get(), size_);
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this == &other) return *this;
  if (data_ != nullptr) OPENSSL_cleanse(data_.get(), size_);
  data_ = std::move(other.data_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

bool SecretBytes::Equals(std::span<const uint8_t> other) const {
  return size_ == other.size() &&
         CRYPTO_memcmp(data_.get(), other.data(), size_) == 0;
}

void WipeBytes(std::span<uint8_t> bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

void WipeString(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace edgetune
