// Every execution brings an honest device to where the input begins: the same
// agreements of keys and the same signatures each time, half of the time of
// some targets. They are computed once. The linker puts these functions in the
// place of the two (--wrap in CMakeLists.txt); what is computed is the same.

#include <map>
#include <string>

#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/signature.h"

// A member function takes its object as the first argument.
#define EDGETUNE_AGREE \
  "_ZNK8edgetune9X25519Key5AgreeESt4spanIKhLm18446744073709551615EE"
#define EDGETUNE_SIGN                                       \
  "_ZNK8edgetune10SigningKey4SignB5cxx11ESt17basic_string_" \
  "viewIcSt11char_traitsIcEE"

namespace edgetune {
namespace {

// What an input makes up would be kept for ever.
constexpr size_t kMost = 10'000;

template <typename Value>
class Remembered {
 public:
  // Null: not known.
  const Value* Find(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }
  void Add(const std::string& key, Value value) {
    if (values_.size() >= kMost) values_.clear();
    values_.emplace(key, std::move(value));
  }

 private:
  std::map<std::string, Value> values_;
};

std::string Text(std::span<const uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace

absl::StatusOr<SecretBytes> RealAgree(
    const X25519Key* key,
    std::span<const uint8_t> peer) __asm__("__real_" EDGETUNE_AGREE);
absl::StatusOr<SecretBytes> Agree(
    const X25519Key* key,
    std::span<const uint8_t> peer) __asm__("__wrap_" EDGETUNE_AGREE);
absl::StatusOr<std::string> RealSign(
    const SigningKey* key,
    std::string_view message) __asm__("__real_" EDGETUNE_SIGN);
absl::StatusOr<std::string> Sign(
    const SigningKey* key,
    std::string_view message) __asm__("__wrap_" EDGETUNE_SIGN);

absl::StatusOr<SecretBytes> Agree(const X25519Key* key,
                                  std::span<const uint8_t> peer) {
  static auto* agreed = new Remembered<SecretBytes>;
  const std::string both = Text(key->secret().bytes()) + Text(peer);
  if (const SecretBytes* known = agreed->Find(both)) {
    return SecretBytes::Copy(known->bytes());
  }
  auto shared = RealAgree(key, peer);
  if (shared.ok()) agreed->Add(both, SecretBytes::Copy(shared->bytes()));
  return shared;
}

absl::StatusOr<std::string> Sign(const SigningKey* key,
                                 std::string_view message) {
  static auto* signed_texts = new Remembered<std::string>;
  const std::string both = key->public_key().raw() + std::string(message);
  if (const std::string* known = signed_texts->Find(both)) return *known;
  auto signature = RealSign(key, message);
  if (signature.ok()) signed_texts->Add(both, *signature);
  return signature;
}

}  // namespace edgetune
