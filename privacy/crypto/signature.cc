#include "privacy/crypto/signature.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <cstdint>

#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "privacy/crypto/openssl_util.h"
#include "privacy/crypto/signature_memo.h"

namespace edgetune {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kSignatureBytes = 64;
constexpr size_t kKeyIdBytes = 16;

using MdContextPtr = OpensslPtr<EVP_MD_CTX, EVP_MD_CTX_free>;

const uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

PkeyPtr RawPublicKey(std::string_view raw) {
  return PkeyPtr(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                             Bytes(raw), raw.size()));
}

#ifdef EDGETUNE_FUZZ_STUB_SIGNATURES
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#error "signatures are stubbed in fuzz builds only"
#endif
// What a fuzzer cannot guess is given away: valid is what could be a signature
// by its last byte, of which RFC 8032 (5.1.7) leaves the upper bits zero.
bool HasSigned(const std::string&, std::string_view,
               std::string_view signature) {
  return (static_cast<uint8_t>(signature.back()) & 0xE0) == 0;
}
#else
bool HasSigned(const std::string& raw_key, std::string_view message,
               std::string_view signature) {
  const PkeyPtr key = RawPublicKey(raw_key);
  const MdContextPtr context(EVP_MD_CTX_new());
  if (key == nullptr || context == nullptr) return false;
  const bool valid =
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr,
                           key.get()) == 1 &&
      EVP_DigestVerify(context.get(), Bytes(signature), signature.size(),
                       Bytes(message), message.size()) == 1;
  ERR_clear_error();
  return valid;
}
#endif

// Key and signature have fixed lengths: no two triples are one string of bytes.
Digest DigestOfTriple(const std::string& raw_key, std::string_view message,
                      std::string_view signature) {
  Sha256Stream hash;
  for (const std::string_view part :
       {std::string_view(raw_key), signature, message}) {
    hash.Update({Bytes(part), part.size()});
  }
  return hash.Finish();
}

absl::StatusOr<std::string> RawOf(const EVP_PKEY* key, std::string_view what) {
  if (EVP_PKEY_is_a(key, "ED25519") != 1) {
    const char* name = EVP_PKEY_get0_type_name(key);
    return absl::InvalidArgumentError(
        fmt::format("{} is of the wrong kind: got {}, wanted ED25519", what,
                    name == nullptr ? "an unknown kind" : name));
  }
  std::string raw(kKeyBytes, '\0');
  size_t size = raw.size();
  if (EVP_PKEY_get_raw_public_key(key, reinterpret_cast<uint8_t*>(raw.data()),
                                  &size) != 1 ||
      size != kKeyBytes) {
    return OpensslError("cannot take the public key");
  }
  return raw;
}

}  // namespace

absl::StatusOr<PublicKey> PublicKey::FromRaw(std::string_view raw) {
  if (raw.size() != kKeyBytes) {
    return absl::InvalidArgumentError(
        fmt::format("a public key has the wrong length: got {} bytes, wanted "
                    "{}",
                    raw.size(), kKeyBytes));
  }
  return PublicKey(std::string(raw));
}

absl::StatusOr<PublicKey> PublicKey::FromPem(std::string_view pem) {
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr key, ReadPublicKey(pem, "a public key"));
  EDGETUNE_ASSIGN_OR_RETURN(std::string raw, RawOf(key.get(), "a public key"));
  return PublicKey(std::move(raw));
}

std::string PublicKey::id() const {
  return Sha256Bytes(raw_).substr(0, kKeyIdBytes);
}

std::string PublicKey::ToPem() const {
  const PkeyPtr key = RawPublicKey(raw_);
  BioPtr bio(BIO_new(BIO_s_mem()));
  EDGETUNE_CHECK(key != nullptr && bio != nullptr);
  EDGETUNE_CHECK(PEM_write_bio_PUBKEY(bio.get(), key.get()) == 1);
  return BioText(bio.get());
}

bool PublicKey::Verify(std::string_view message,
                       std::string_view signature) const {
  if (signature.size() != kSignatureBytes) return false;
  if (!SignatureMemo::Lives()) return HasSigned(raw_, message, signature);
  const Digest triple = DigestOfTriple(raw_, message, signature);
  if (SignatureMemo::Knows(triple)) return true;
  if (!HasSigned(raw_, message, signature)) return false;
  SignatureMemo::Remember(triple);
  return true;
}

// OpenSSL wipes the key's bytes when the last reference goes.
struct SigningKey::State {
  PkeyPtr key;
  PublicKey public_key;
};

SigningKey::SigningKey(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
SigningKey::~SigningKey() = default;
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;

absl::StatusOr<SigningKey> SigningKey::Generate(RandomSource& random) {
  EDGETUNE_ASSIGN_OR_RETURN(const SecretBytes secret,
                            RandomSecret(random, kKeyBytes));
  PkeyPtr key(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_ED25519, nullptr, secret.bytes().data(), secret.size()));
  if (key == nullptr) return OpensslError("cannot make a signing key");
  EDGETUNE_ASSIGN_OR_RETURN(std::string raw, RawOf(key.get(), "a new key"));
  EDGETUNE_ASSIGN_OR_RETURN(PublicKey public_key, PublicKey::FromRaw(raw));
  return SigningKey(
      std::make_unique<State>(State{std::move(key), std::move(public_key)}));
}

absl::StatusOr<SigningKey> SigningKey::Generate() {
  SystemRandom random;
  return Generate(random);
}

absl::StatusOr<SigningKey> SigningKey::FromPem(std::string_view pem) {
  EDGETUNE_ASSIGN_OR_RETURN(PkeyPtr key, ReadPrivateKey(pem, "a signing key"));
  EDGETUNE_ASSIGN_OR_RETURN(std::string raw, RawOf(key.get(), "a signing key"));
  EDGETUNE_ASSIGN_OR_RETURN(PublicKey public_key, PublicKey::FromRaw(raw));
  return SigningKey(
      std::make_unique<State>(State{std::move(key), std::move(public_key)}));
}

const PublicKey& SigningKey::public_key() const { return state_->public_key; }

absl::StatusOr<std::string> SigningKey::Sign(std::string_view message) const {
  const MdContextPtr context(EVP_MD_CTX_new());
  std::string signature(kSignatureBytes, '\0');
  size_t size = signature.size();
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr,
                         state_->key.get()) != 1 ||
      EVP_DigestSign(context.get(),
                     reinterpret_cast<uint8_t*>(signature.data()), &size,
                     Bytes(message), message.size()) != 1 ||
      size != kSignatureBytes) {
    return OpensslError("cannot sign");
  }
  return signature;
}

absl::StatusOr<std::string> SigningKey::ToPem() const {
  return WritePrivateKey(state_->key.get());
}

}  // namespace edgetune
