// Shares on their way: from a member to the coordinator (R2), from there to
// another member (R2b), and complaints about them. Input: a byte that says who
// is told, then SecAggServerMessage or SecAggClientMessage.

#include "tests/fuzz/choices.h"
#include "tests/fuzz/scene.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using secagg::SecAggClient;
using secagg::SecAggServer;
using Body = v1::SecAggClientMessage::BodyCase;

enum Told { kDeviceShared, kDeviceAcked, kServerShares, kServerAcks, kTold };

void TellDevice(SecAggClient::Phase phase, std::span<const uint8_t> bytes) {
  v1::SecAggServerMessage message;
  if (!Parse(bytes, message)) return;
  Device device(Scene::Five(), phase);
  device.Tell(message);
  // Whatever came of it, the session can go on or is over.
  device.Tell(
      Scene::Five().Down(Scene::kVictim, v1::SecAggServerMessage::kOpen));
}

// One member says this, all others what they had said.
void TellServer(SecAggServer::Phase phase, Body body,
                std::span<const uint8_t> bytes) {
  v1::SecAggClientMessage message;
  if (!Parse(bytes, message)) return;
  const Scene& scene = Scene::Five();
  SecAggServer server = scene.ServerIn(phase);
  Tell(server, Scene::kVictim, message);
  for (uint32_t v = 0; v < scene.size(); ++v) {
    if (v != Scene::kVictim) Tell(server, v, scene.Up(v, body));
  }
  server.Resend(Scene::kVictim);
  Tell(server, Scene::kVictim, message);
  server.Timer(scene.ServerOptions().deadlines.unmask);
  Require(server.phase() == SecAggServer::Phase::kAborted,
          "a session without masked inputs has no result");
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t> input) {
  if (!input.empty() && input[0] % kTold >= kServerShares) {
    return {1, std::make_unique<v1::SecAggClientMessage>()};
  }
  return {1, std::make_unique<v1::SecAggServerMessage>()};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  switch (input.Below(kTold)) {
    case kDeviceShared:
      TellDevice(SecAggClient::Phase::kShared, input.rest());
      break;
    case kDeviceAcked:
      TellDevice(SecAggClient::Phase::kAcked, input.rest());
      break;
    case kServerShares:
      TellServer(SecAggServer::Phase::kShares, Body::kShares, input.rest());
      break;
    default:
      TellServer(SecAggServer::Phase::kAcks, Body::kAck, input.rest());
  }
  return 0;
}
