#include "tests/privacy_secagg/vectors.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/units.h"

namespace edgetune::testing {
namespace {

template <typename Array>
Array ArrayOf(const nlohmann::json& hex) {
  const std::string bytes = Bytes(hex);
  Array array;
  if (bytes.size() != array.size()) throw std::length_error(hex.dump());
  std::copy(bytes.begin(), bytes.end(), array.begin());
  return array;
}

}  // namespace

nlohmann::json LoadVectors(const std::string& file) {
  std::ifstream stream(EDGETUNE_SOURCE_DIR "/tests/privacy_secagg/vectors/" +
                       file + ".json");
  return nlohmann::json::parse(stream);
}

nlohmann::json LoadCases(const std::string& file, const std::string& list) {
  nlohmann::json cases = LoadVectors(file).at(list);
  if (cases.empty()) throw std::invalid_argument(list + " is empty");
  return cases;
}

std::string Bytes(const nlohmann::json& hex) {
  return FromHex(hex.get<std::string>()).value();
}

SecretBytes Secret(const nlohmann::json& hex) {
  return SecretBytes::Copy(ByteSpan(Bytes(hex)));
}

Digest DigestOf(const nlohmann::json& hex) { return ArrayOf<Digest>(hex); }

ClientId IdOf(const nlohmann::json& hex) { return ArrayOf<ClientId>(hex); }

std::vector<std::string> AllBytes(const nlohmann::json& list) {
  std::vector<std::string> all;
  for (const nlohmann::json& hex : list) all.push_back(Bytes(hex));
  return all;
}

absl::Status RepeatingRandom::Fill(std::span<uint8_t> out) {
  for (uint8_t& byte : out) {
    byte = static_cast<uint8_t>(bytes_[next_]);
    next_ = (next_ + 1) % bytes_.size();
  }
  return absl::OkStatus();
}

void AddShares(const nlohmann::json& shares,
               google::protobuf::RepeatedPtrField<v1::IndexedShare>* list) {
  for (const nlohmann::json& share : shares) {
    v1::IndexedShare* added = list->Add();
    added->set_index(share[0]);
    added->set_share(Bytes(share[1]));
  }
}

SigningKey KeyOf(const nlohmann::json& secret) {
  RepeatingRandom random(Bytes(secret));
  return SigningKey::Generate(random).value();
}

MaskedShape ShapeOf(const nlohmann::json& shape) {
  MaskedShape out;
  out.bits = shape["bits"];
  out.n_max = shape["n_max"];
  out.bound = shape["bound"];
  out.coordinates = shape["coordinates"];
  for (const nlohmann::json& lane : shape["lanes"]) {
    out.lanes.push_back({LaneUse{lane[0].get<uint8_t>()}, lane[1]});
  }
  return out;
}

std::vector<std::span<const uint8_t>> Spans(
    const std::vector<std::string>& texts) {
  std::vector<std::span<const uint8_t>> spans;
  for (const std::string& text : texts) spans.push_back(ByteSpan(text));
  return spans;
}

std::string Text(std::span<const uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace edgetune::testing
