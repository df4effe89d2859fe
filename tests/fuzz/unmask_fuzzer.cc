// The end of a session, on both sides: the survivor set (R4), shares shown
// (R5), secrets put together from shares of which some are lies. Input: a byte
// that says who is told, then SecAggServerMessage, SecAggClientMessage or, for
// the decoding alone, bytes.

#include <algorithm>

#include "privacy/crypto/secret.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/shamir.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/scene.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using secagg::SecAggClient;
using secagg::SecAggServer;
using Body = v1::SecAggClientMessage::BodyCase;

enum Told {
  kDeviceMasked,
  kDeviceConfirmed,
  kServerSurvivors,
  kServerUnmask,
  kDecoding,
  kTold
};

void TellDevice(SecAggClient::Phase phase, std::span<const uint8_t> bytes) {
  v1::SecAggServerMessage message;
  if (!Parse(bytes, message)) return;
  Device device(Scene::Five(), phase);
  const auto actions = device.Tell(message);
  if (device.party().phase() == SecAggClient::Phase::kUnmasked) {
    const auto again = device.Tell(message);
    Require(
        again.size() == 1 && again.front().message.SerializeAsString() ==
                                 actions.front().message.SerializeAsString(),
        "shares are shown once");
  }
  device.Tell(
      Scene::Five().Down(Scene::kVictim, v1::SecAggServerMessage::kUnmask));
}

// The masks that an honest session takes off, however shares lie.
void RequireMasks(const Scene& scene, std::vector<secagg::MaskTerm>& masks) {
  secagg::MaskedSum sum(scene.shape());
  for (const auto& [digest, blob] : scene.blobs()) {
    Require(sum.Add(ByteSpan(blob)).ok(), "the scene's own upload");
  }
  const auto sums = sum.Unmask(masks, secagg::CanaryOf(scene.manifest()), 1);
  Require(sums.ok() && *sums == scene.sum(), "never a wrong sum");
}

// Of ten members (t = 7) one uploaded nothing; the others answer as they did,
// but for the victim. One lie in nine answers can be corrected.
void TellServer(SecAggServer::Phase phase, Body body,
                std::span<const uint8_t> bytes) {
  v1::SecAggClientMessage message;
  if (!Parse(bytes, message)) return;
  const Scene& scene = Scene::Ten();
  SecAggServer server = scene.ServerIn(phase);
  SecAggServer::Actions actions = Tell(server, Scene::kVictim, message);
  const auto keep = [&](SecAggServer::Actions more) {
    std::ranges::move(more, std::back_inserter(actions));
  };
  for (uint32_t v = 0; v < scene.size(); ++v) {
    if (v == Scene::kVictim || v == Scene::kDropped) continue;
    keep(Tell(server, v, scene.Up(v, body)));
  }
  keep(server.Timer(server.NextTimer()));
  Require(server.phase() > phase, "a deadline ends its phase");
  for (SecAggServer::Action& action : actions) {
    if (action.kind != SecAggServer::Action::Kind::kUnmask) continue;
    RequireMasks(scene, action.masks);
    Require(server.Receipt().signatures_size() >= 7, "t signatures to show");
  }
}

// A sharing by the code itself, then lies, and holders that cannot be.
void Decode(Input input) {
  const uint32_t threshold = 1 + input.Below(12);
  const uint32_t n = threshold + input.Below(12);
  const uint32_t lies = input.Below(n + 1);
  const bool strangers = input.Below(4) == 0;
  SecretBytes secret(secagg::kSecretSize);
  std::ranges::copy(input.Take(secret.size()), secret.bytes().begin());
  SeededRandom random = secagg::Seeded(input.Byte());
  auto shares = secagg::ShareSecret(secret, threshold, n, random).value();
  for (uint32_t i = 0; i < lies; ++i) {
    for (uint8_t& byte : shares[input.Below(n)].bytes()) byte ^= input.Byte();
  }
  std::vector<secagg::HeldShare> held;
  for (uint32_t i = 0; i < n; ++i) {
    const auto index = strangers ? static_cast<uint32_t>(input.Word(4)) : i;
    held.push_back({index, shares[i].bytes()});
  }
  const auto corrected = secagg::CorrectShares(held, threshold);
  if (lies <= (n - threshold) / 2 && !strangers) {
    Require(corrected.ok() && corrected->secret.Equals(secret.bytes()),
            "few lies are corrected");
    Require(corrected->bad.size() <= lies, "no honest holder is blamed");
  }
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t> input) {
  const uint32_t told = input.empty() ? 0 : input[0] % kTold;
  if (told == kDecoding) return {1};
  if (told < kServerSurvivors) {
    return {1, std::make_unique<v1::SecAggServerMessage>()};
  }
  return {1, std::make_unique<v1::SecAggClientMessage>()};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  switch (input.Below(kTold)) {
    case kDeviceMasked:
      TellDevice(SecAggClient::Phase::kMasked, input.rest());
      break;
    case kDeviceConfirmed:
      TellDevice(SecAggClient::Phase::kConfirmed, input.rest());
      break;
    case kServerSurvivors:
      TellServer(SecAggServer::Phase::kSurvivors, Body::kSurvivors,
                 input.rest());
      break;
    case kServerUnmask:
      TellServer(SecAggServer::Phase::kUnmask, Body::kUnmask, input.rest());
      break;
    default:
      Decode(input);
  }
  return 0;
}
