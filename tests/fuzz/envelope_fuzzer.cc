// Signed documents before anybody looks inside. Input: a byte that says what
// the document is used as, then Envelope.

#include <algorithm>
#include <array>

#include "tests/fuzz/choices.h"
#include "tests/fuzz/documents.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

constexpr std::array kUses = {DocumentUse::kPlan,     DocumentUse::kManifest,
                              DocumentUse::kCard,     DocumentUse::kRoster,
                              DocumentUse::kOverride, DocumentUse::kReceipt};

void RequireTrusted(DocumentUse use, const v1::Envelope& envelope) {
  const TrustedKeys& keys = TheSigners().keys;
  const std::string_view role = RoleOf(use);
  const auto& trusted = role == "release" ? keys.release
                        : role == "round" ? keys.round
                                          : keys.roster;
  Require(envelope.role() == role, "the use decides the role");
  Require(std::ranges::any_of(envelope.signatures(),
                              [&](const v1::Signature& signature) {
                                return signature.key_id() ==
                                       trusted.front().id();
                              }),
          "a key of that role signed");
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t>) {
  return {1, std::make_unique<v1::Envelope>()};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  const DocumentUse use = kUses[input.Below(kUses.size())];
  v1::Envelope envelope;
  if (!Parse(input.rest(), envelope)) return 0;
  if (VerifyDocument(use, envelope, TheSigners().keys).ok()) {
    RequireTrusted(use, envelope);
  }
  v1::DocumentHeader header;
  if (!header.ParseFromString(envelope.payload())) return 0;
  if (CheckHeader(header, DocumentTime(), "a document").ok()) {
    Require(header.expires_ms() > absl::ToUnixMillis(DocumentTime()),
            "expired documents are refused");
  }
  return 0;
}
