#ifndef EDGETUNE_PRIVACY_CRYPTO_SECRET_H_
#define EDGETUNE_PRIVACY_CRYPTO_SECRET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace edgetune {

// Owned bytes that are wiped when they go: on destruction and when another
// value is moved in. A moved-from instance is empty. Move-only, so that no
// copy is made by accident; there is no way to print one. One thread at a time.
class SecretBytes {
 public:
  SecretBytes() = default;
  // n zero bytes.
  explicit SecretBytes(size_t n);
  static SecretBytes Copy(std::span<const uint8_t> bytes);
  ~SecretBytes();
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;

  std::span<uint8_t> bytes() { return {data_.get(), size_}; }
  std::span<const uint8_t> bytes() const { return {data_.get(), size_}; }
  size_t size() const { return size_; }
  // Time depends on the sizes alone. Bytes of another size are not equal.
  bool Equals(std::span<const uint8_t> other) const;

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t size_ = 0;
};

// The bytes of a text, as this room's functions take them.
inline std::span<const uint8_t> ByteSpan(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Zeroes that the compiler does not leave out.
void WipeBytes(std::span<uint8_t> bytes);
// For secrets that a library hands over as text. Leaves the string empty.
void WipeString(std::string& secret);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_SECRET_H_
