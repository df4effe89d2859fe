#include "privacy/identity/roster_file.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr char kHint[] =
    "publish it again: `edgetune-server enroll` signs a new version when it "
    "starts and copies it to where the coordinator reads";

absl::Status Torn(std::string_view problem) {
  return Annotate(
      absl::InvalidArgumentError(fmt::format("the roster file {}", problem)),
      ErrorKind::kIdentity, kHint);
}

absl::StatusOr<v1::RosterHead> ReadHead(const v1::Envelope& envelope,
                                        const TrustedKeys& keys) {
  EDGETUNE_RETURN_IF_ERROR(
      VerifyDocument(DocumentUse::kRoster, envelope, keys));
  return ParseRosterHead(envelope.payload());
}

}  // namespace

bool PublishedRoster::Admits(std::string_view device_name) const {
  const auto index = roster.Find(ClientIdOf(device_name));
  return index.has_value() && roster.Member(*index).active;
}

absl::StatusOr<v1::RosterHead> VerifyRosterHead(const v1::Envelope& envelope,
                                                const TrustedKeys& keys,
                                                absl::Time now) {
  EDGETUNE_ASSIGN_OR_RETURN(v1::RosterHead head, ReadHead(envelope, keys));
  const absl::Status dates = CheckHeader(head.header(), now, "the roster");
  if (!dates.ok()) return dates;
  return head;
}

absl::StatusOr<PublishedRoster> ParseRosterFile(std::string_view bytes,
                                                const TrustedKeys& keys,
                                                std::optional<absl::Time> now) {
  v1::RosterFile file;
  if (!file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      !file.has_head()) {
    return Torn("cannot be parsed");
  }
  auto head = now.has_value() ? VerifyRosterHead(file.head(), keys, *now)
                              : ReadHead(file.head(), keys);
  EDGETUNE_RETURN_IF_ERROR(head);
  std::vector<v1::RosterEntry> entries(file.entries().begin(),
                                       file.entries().end());
  EDGETUNE_ASSIGN_OR_RETURN(Roster roster, Roster::Make(std::move(entries)));
  const Digest root = roster.root();
  if (head->leaf_count() != roster.entries().size() ||
      head->root() !=
          std::string_view(reinterpret_cast<const char*>(root.data()),
                           root.size())) {
    return Torn("holds other entries than its head says");
  }
  return PublishedRoster{std::move(*file.mutable_head()), *std::move(head),
                         std::move(roster)};
}

absl::StatusOr<v1::RosterHead> RosterGuard::Accept(const v1::Envelope& envelope,
                                                   const TrustedKeys& keys,
                                                   absl::Time now) {
  EDGETUNE_ASSIGN_OR_RETURN(v1::RosterHead head,
                            VerifyRosterHead(envelope, keys, now));
  const Digest payload = Sha256(envelope.payload());
  if (head.version() < mark_.version) {
    return Annotate(absl::FailedPreconditionError(fmt::format(
                        "the roster is of version {}, older than version {} "
                        "seen before",
                        head.version(), mark_.version)),
                    ErrorKind::kIdentity,
                    "publish the newest one: an older one may hide that a "
                    "device was revoked. An authority that was set up anew "
                    "needs a new state directory");
  }
  if (head.version() == mark_.version && payload != mark_.payload) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format(
            "two different rosters are of version {}", head.version())),
        ErrorKind::kIdentity, "the enrolment authority's key may be stolen");
  }
  mark_ = {head.version(), payload};
  return head;
}

}  // namespace edgetune
