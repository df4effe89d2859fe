#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_VECTORS_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_VECTORS_H_

// Reads tests/privacy_secagg/vectors/*.json, which a second implementation in
// Python made (vectors/make_vectors.py), and turns their values into ours.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "privacy/crypto/hash.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/crypto/signature.h"
#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/secagg.pb.h"
#include "protos/masking.h"

namespace edgetune::testing {

// A whole file, e.g. "field", and one of its lists, which has cases.
nlohmann::json LoadVectors(const std::string& file);
nlohmann::json LoadCases(const std::string& file, const std::string& list);

// Of text in hex.
std::string Bytes(const nlohmann::json& hex);
SecretBytes Secret(const nlohmann::json& hex);
Digest DigestOf(const nlohmann::json& hex);
ClientId IdOf(const nlohmann::json& hex);
std::vector<std::string> AllBytes(const nlohmann::json& list);

// From a list of pairs of an index and a share.
void AddShares(const nlohmann::json& shares,
               google::protobuf::RepeatedPtrField<v1::IndexedShare>* list);

// Hands out the same bytes again and again.
class RepeatingRandom final : public RandomSource {
 public:
  explicit RepeatingRandom(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Fill(std::span<uint8_t> out) override;

 private:
  const std::string bytes_;
  size_t next_ = 0;
};

// The Ed25519 key of a 32-byte secret in hex.
SigningKey KeyOf(const nlohmann::json& secret);

// From an object with bits, n_max, bound, lanes and coordinates.
MaskedShape ShapeOf(const nlohmann::json& shape);

// One view a string.
std::vector<std::span<const uint8_t>> Spans(
    const std::vector<std::string>& texts);
std::string Text(std::span<const uint8_t> bytes);

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_VECTORS_H_
