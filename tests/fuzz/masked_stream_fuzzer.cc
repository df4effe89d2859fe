// Masked vectors as they arrive: their sum and its unpacking for every ring,
// the message that ends an upload, and what a device makes of its own numbers.
// Input: a byte that says which, then bytes or SecAggClientMessage.

#include <cmath>
#include <cstring>

#include "privacy/secagg/masked_vector.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/scene.h"
#include "tests/fuzz/target.h"
#include "tests/privacy_secagg/shapes.h"

namespace edgetune::fuzz {
namespace {

using secagg::MaskedSum;
using secagg::RingVector;
using secagg::SecAggServer;

enum Told { kSum, kServerInput, kQuantize, kTold };

MaskedShape ShapeFrom(Input& input) {
  const uint32_t bits = secagg::kRings[input.Below(4)];
  const uint32_t n_max = 4 + input.Below(5);
  const uint32_t coordinates = input.Below(20);
  return input.Below(2) == 0 ? secagg::ShapeOf(bits, n_max, coordinates)
                             : secagg::ShapeWithLanes(bits, n_max, coordinates);
}

bool BitAt(std::span<const uint8_t> bytes, size_t at) {
  return (bytes[at / 8] >> (at % 8) & 1) != 0;
}

// What encoding.h says of packed lanes, bit by bit. False: padding bits set.
bool ReadSlowly(const MaskedShape& shape, std::span<const uint8_t> packed,
                std::vector<uint64_t>& lanes) {
  for (size_t j = 0; j < shape.size(); ++j) {
    for (uint32_t k = 0; k < shape.bits; ++k) {
      lanes[j] += uint64_t{BitAt(packed, j * shape.bits + k)} << k;
    }
  }
  for (size_t at = shape.size() * shape.bits; at < 8 * packed.size(); ++at) {
    if (BitAt(packed, at)) return false;
  }
  return true;
}

// Vectors of the right or another length, one after the other.
void Sum(Input input) {
  const MaskedShape shape = ShapeFrom(input);
  MaskedSum sum(shape);
  std::vector<uint64_t> expected(shape.size());
  while (!input.empty()) {
    const uint8_t length = input.Byte();
    const auto packed = input.Take(length < 200 ? shape.byte_size() : length);
    std::vector<uint64_t> with = expected;
    const bool whole = packed.size() == shape.byte_size();
    const bool proper = whole && ReadSlowly(shape, packed, with);
    const bool fits = proper && sum.count() < shape.n_max;
    Require(sum.Add(packed).ok() == fits, "whole vectors are added, no others");
    if (fits) expected = with;
    const auto lanes = secagg::UnpackLanes(shape, packed);
    Require(lanes.ok() == proper, "whole vectors are unpacked, no others");
    if (lanes.ok()) {
      Require(std::ranges::equal(ByteSpan(secagg::PackLanes(shape, *lanes)),
                                 packed),
              "packing is the inverse of unpacking");
    }
  }
  const uint32_t count = sum.count();
  const auto sums = sum.Unmask({}, 7, 1);
  if (!sums.ok()) return;
  const uint64_t ring = uint64_t{1} << shape.bits;
  Require(expected[0] % ring == count && expected[1] % ring == 7 * count % ring,
          "canaries were looked at");
  for (size_t i = 0; i < sums->size(); ++i) {
    const auto value = static_cast<uint64_t>((*sums)[i]) % ring;
    Require(value == expected[i + 2] % ring, "the sum of what was added");
  }
  secagg::DecodeSum(shape, *sums);
  Require(!sum.Add({}).ok() && !sum.Unmask({}, 7, 1).ok(), "one result");
}

void TellServer(std::span<const uint8_t> bytes) {
  v1::SecAggClientMessage message;
  if (!Parse(bytes, message)) return;
  const Scene& scene = Scene::Five();
  SecAggServer server = scene.ServerIn(SecAggServer::Phase::kInput);
  for (const auto& action : Tell(server, Scene::kVictim, message)) {
    if (action.kind != SecAggServer::Action::Kind::kFold) continue;
    Require(message.input().total_length() == scene.shape().byte_size(),
            "exact length");
    server.Unusable(Scene::kVictim, Scene::Now());
  }
  for (uint32_t v = 0; v < scene.size(); ++v) {
    if (v == Scene::kVictim) continue;
    Tell(server, v, scene.Up(v, v1::SecAggClientMessage::kInput));
  }
  server.Timer(server.NextTimer());
  Require(server.phase() > SecAggServer::Phase::kInput,
          "a deadline ends its phase");
}

// NaN, infinities and numbers beyond every bound.
void Quantize(Input input) {
  const MaskedShape shape = ShapeFrom(input);
  secagg::PlainInput plain;
  if (!shape.lanes.empty()) {
    plain.weight = input.Byte() / 128.0;
    plain.lanes = {{LaneUse::kWeight, plain.weight},
                   {LaneUse::kNll, input.Byte() * 8.0 - 8}};
  }
  std::vector<float> coordinates(input.Below(24));
  bool finite = true;
  for (float& x : coordinates) {
    const auto word = static_cast<uint32_t>(input.Word(4));
    std::memcpy(&x, &word, sizeof(x));
    finite = finite && std::isfinite(x);
  }
  plain.coordinates = coordinates;
  SeededRandom random = secagg::Seeded(1);
  const auto lanes = secagg::Quantize(shape, plain, 7, random);
  if (!lanes.ok()) return;
  Require(finite && coordinates.size() == shape.coordinates, "numbers only");
  MaskedSum sum(shape);
  for (uint32_t i = 0; i < shape.n_max; ++i) {
    Require(sum.Add(ByteSpan(secagg::PackLanes(shape, *lanes))).ok(),
            "what a device makes is a vector");
  }
  Require(sum.Unmask({}, 7, 1).ok(), "n_max honest vectors never wrap");
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t> input) {
  if (!input.empty() && input[0] % kTold == kServerInput) {
    return {1, std::make_unique<v1::SecAggClientMessage>()};
  }
  return {1};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  switch (input.Below(kTold)) {
    case kSum:
      Sum(input);
      break;
    case kServerInput:
      TellServer(input.rest());
      break;
    default:
      Quantize(input);
  }
  return 0;
}
