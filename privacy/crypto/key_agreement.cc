#include "privacy/crypto/key_agreement.h"

#include <fmt/format.h>
#include <openssl/err.h>

#include <utility>

#include "base/status.h"
#include "privacy/crypto/openssl_util.h"

namespace edgetune {
namespace {

using PkeyContextPtr = OpensslPtr<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;

absl::Status CheckSize(size_t size, const char* what) {
  if (size == kX25519Bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} has the wrong length: got {} bytes, wanted {}", what,
                  size, kX25519Bytes));
}

}  // namespace

// Beside the raw secret OpenSSL's form of it, so that Agree need not compute
// the public key again.
struct X25519Key::State {
  SecretBytes secret;
  PkeyPtr key;
  std::array<uint8_t, kX25519Bytes> public_key{};
};

X25519Key::X25519Key(std::unique_ptr<State> state) : state_(std::move(state)) {}
X25519Key::~X25519Key() = default;
X25519Key::X25519Key(X25519Key&&) noexcept = default;
X25519Key& X25519Key::operator=(X25519Key&&) noexcept = default;

absl::StatusOr<X25519Key> X25519Key::Generate(RandomSource& random) {
  EDGETUNE_ASSIGN_OR_RETURN(const SecretBytes secret,
                            RandomSecret(random, kX25519Bytes));
  return FromSecret(secret.bytes());
}

absl::StatusOr<X25519Key> X25519Key::FromSecret(
    std::span<const uint8_t> secret) {
  EDGETUNE_RETURN_IF_ERROR(CheckSize(secret.size(), "an X25519 secret"));
  auto state = std::make_unique<State>();
  state->secret = SecretBytes::Copy(secret);
  state->key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr,
                                                secret.data(), secret.size()));
  size_t size = kX25519Bytes;
  if (state->key == nullptr ||
      EVP_PKEY_get_raw_public_key(state->key.get(), state->public_key.data(),
                                  &size) != 1 ||
      size != kX25519Bytes) {
    return OpensslError("cannot make an X25519 key");
  }
  return X25519Key(std::move(state));
}

const std::array<uint8_t, kX25519Bytes>& X25519Key::public_key() const {
  return state_->public_key;
}

const SecretBytes& X25519Key::secret() const { return state_->secret; }

absl::StatusOr<SecretBytes> X25519Key::Agree(
    std::span<const uint8_t> peer_public) const {
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(peer_public.size(), "an X25519 public key"));
  const PkeyPtr peer(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_X25519, nullptr, peer_public.data(), peer_public.size()));
  const PkeyContextPtr context(EVP_PKEY_CTX_new(state_->key.get(), nullptr));
  if (peer == nullptr || context == nullptr ||
      EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1) {
    return OpensslError("cannot begin a key agreement");
  }
  SecretBytes shared(kX25519Bytes);
  size_t size = shared.size();
  const bool derived =
      EVP_PKEY_derive(context.get(), shared.bytes().data(), &size) == 1 &&
      size == kX25519Bytes;
  ERR_clear_error();
  // With two keys of the right kind OpenSSL refuses the all-zero result only;
  // other versions of it might not.
  if (!derived || SecretBytes(kX25519Bytes).Equals(shared.bytes())) {
    return absl::InvalidArgumentError(
        "an X25519 public key is of low order: every secret leads to zero");
  }
  return shared;
}

}  // namespace edgetune
