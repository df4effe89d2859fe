// A roster file as the coordinator reads it. Input: RosterFile.

#include "privacy/identity/roster_file.h"
#include "tests/fuzz/documents.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

void RequireUsable(const PublishedRoster& published) {
  const Roster& roster = published.roster;
  const size_t size = roster.entries().size();
  for (size_t i = 0; i < size; ++i) {
    const RosterMember member = roster.Member(i);
    Require(roster.Find(member.id) == i, "every entry is found");
    Require(VerifyRosterProof(roster.Prove(i), RosterLeafHash(member),
                              roster.root(), size),
            "every entry is proved");
    Require(published.Admits(roster.entries()[i].name()) == member.active,
            "active devices are admitted, no others");
  }
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t>) {
  return {0, std::make_unique<v1::RosterFile>(),
          [](google::protobuf::Message& message) {
            LinkRosterFile(static_cast<v1::RosterFile&>(message));
          }};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const TrustedKeys& keys = TheSigners().keys;
  const auto dated = ParseRosterFile(bytes, keys, DocumentTime());
  const auto undated = ParseRosterFile(bytes, keys, std::nullopt);
  Require(undated.ok() || !dated.ok(), "dates only refuse more");
  if (undated.ok()) RequireUsable(*undated);
  if (!dated.ok()) return 0;
  RosterGuard guard({dated->head.version(), {}});
  Require(!guard.Accept(dated->envelope, keys, DocumentTime()).ok(),
          "two rosters of one version are refused");
  RosterGuard newest({dated->head.version() - 1, {}});
  Require(newest.Accept(dated->envelope, keys, DocumentTime()).ok() &&
              newest.mark().version == dated->head.version(),
          "a newer roster is accepted");
  return 0;
}
