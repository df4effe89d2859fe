#include "privacy/identity/enrollment_kit.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "privacy/identity/kit_certificate.h"
#include "privacy/identity/kit_description.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

std::string OriginOf(const std::string& directory, const char* file) {
  return fmt::format("{}/{}", directory, file);
}

// A file that is not there yet counts as an empty object.
absl::StatusOr<nlohmann::json> ReadList(const std::string& directory,
                                        const char* file) {
  std::error_code ignored;
  if (!std::filesystem::exists(OriginOf(directory, file), ignored)) {
    return nlohmann::json::object();
  }
  return ReadKitJson(directory, file);
}

absl::StatusOr<TokenRecord> ParseToken(const nlohmann::json& json,
                                       const std::string& origin) {
  TokenRecord token;
  EDGETUNE_ASSIGN_OR_RETURN(token.name, KitText(json, "name", origin));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string hex,
                            KitText(json, "sha256", origin));
  const auto hash = FromHex(hex);
  const auto expires = json.find("expires_ms");
  if (!IsPartyId(token.name) || !hash.has_value() ||
      hash->size() != sizeof(Digest) || expires == json.end() ||
      !expires->is_number_integer()) {
    return BadKitFile(origin, fmt::format("the token of '{}' is malformed",
                                          token.name.substr(0, 64)));
  }
  token.sha256 = *hash;
  token.expires = absl::FromUnixMillis(expires->get<int64_t>());
  return token;
}

std::string TokensText(const std::vector<TokenRecord>& tokens) {
  nlohmann::ordered_json json;
  json["schema_version"] = kKitVersion;
  json["tokens"] = nlohmann::ordered_json::array();
  for (const TokenRecord& token : tokens) {
    json["tokens"].push_back(
        {{"name", token.name},
         {"sha256", ToHex(token.sha256)},
         {"expires_ms", absl::ToUnixMillis(token.expires)}});
  }
  return json.dump(1) + "\n";
}

v1::RosterHead HeadOf(const Roster& roster, uint64_t version, absl::Time now) {
  v1::RosterHead head;
  v1::DocumentHeader& header = *head.mutable_header();
  header.set_version(1);
  header.set_issued_ms(absl::ToUnixMillis(now));
  header.set_expires_ms(absl::ToUnixMillis(now + kRosterLife));
  head.set_version(version);
  head.set_leaf_count(roster.entries().size());
  const Digest root = roster.root();
  head.set_root(root.data(), root.size());
  return head;
}

absl::Status CheckKeys(const Kit& kit, const CertificateAndKey& ca,
                       const SigningKey& roster_key) {
  const absl::Status matches = CheckKeyMatches(ca.certificate_pem, ca.key_pem);
  const bool pinned =
      std::any_of(kit.trusted.roster.begin(), kit.trusted.roster.end(),
                  [&](const PublicKey& key) {
                    return key.raw() == roster_key.public_key().raw();
                  });
  if (matches.ok() && pinned) return absl::OkStatus();
  const char* file = matches.ok() ? kRosterKeyFile : kCaKeyFile;
  return Annotate(absl::PermissionDeniedError(
                      fmt::format("{} is not the key of this provisioning",
                                  OriginOf(kit.directory, file))),
                  ErrorKind::kIdentity,
                  "the enrolment kit's files belong together");
}

}  // namespace

EnrollmentKit::EnrollmentKit(Kit kit, CertificateAndKey ca,
                             SigningKey roster_key)
    : kit_(std::move(kit)),
      ca_(std::move(ca)),
      roster_key_(std::move(roster_key)) {}

EnrollmentKit::~EnrollmentKit() { WipeString(ca_.key_pem); }

absl::StatusOr<EnrollmentKit> EnrollmentKit::Load(const std::string& directory,
                                                  absl::Time now) {
  EDGETUNE_ASSIGN_OR_RETURN(Kit kit,
                            LoadKit(directory, PartyRole::kEnrollment, now));
  CertificateAndKey ca;
  ca.certificate_pem = kit.ca_pem;
  EDGETUNE_ASSIGN_OR_RETURN(ca.key_pem, ReadKitFile(directory, kCaKeyFile));
  EDGETUNE_ASSIGN_OR_RETURN(SigningKey roster_key,
                            ReadSigningKey(directory, kRosterKeyFile));
  EDGETUNE_RETURN_IF_ERROR(CheckKeys(kit, ca, roster_key));
  return EnrollmentKit(std::move(kit), std::move(ca), std::move(roster_key));
}

absl::StatusOr<PublishedRoster> EnrollmentKit::ReadRoster() const {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string bytes,
                            ReadKitFile(kit_.directory, kRosterFile));
  auto roster = ParseRosterFile(bytes, kit_.trusted, std::nullopt);
  return roster.ok()
             ? std::move(roster)
             : Prefix(roster.status(), OriginOf(kit_.directory, kRosterFile));
}

absl::StatusOr<uint64_t> EnrollmentKit::ReadSequence() const {
  const std::string origin = OriginOf(kit_.directory, kSequenceFile);
  std::error_code ignored;
  if (!std::filesystem::exists(origin, ignored)) return 0;
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text,
                            ReadKitFile(kit_.directory, kSequenceFile));
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && at != text.data() &&
      std::string(at, end) == "\n") {
    return number;
  }
  return BadKitFile(origin, "not a number");
}

absl::StatusOr<PublishedRoster> EnrollmentKit::ChangeRoster(
    absl::Time now, const RosterChange& change) const {
  EDGETUNE_ASSIGN_OR_RETURN(const KitLock lock, KitLock::Take(kit_.directory));
  EDGETUNE_ASSIGN_OR_RETURN(uint64_t version, ReadSequence());
  std::vector<v1::RosterEntry> entries;
  // Only before the first signature may there be no roster.
  if (auto current = ReadRoster(); current.ok()) {
    entries = current->roster.entries();
    version = std::max(version, current->head.version());
  } else if (version != 0 || !absl::IsNotFound(current.status())) {
    return current.status();
  }
  EDGETUNE_RETURN_IF_ERROR(change(entries));
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.client_id() < b.client_id();
  });
  EDGETUNE_ASSIGN_OR_RETURN(Roster roster, Roster::Make(std::move(entries)));
  v1::RosterHead head = HeadOf(roster, version + 1, now);
  return SignRoster(std::move(head), std::move(roster));
}

absl::StatusOr<PublishedRoster> EnrollmentKit::SignRoster(v1::RosterHead head,
                                                          Roster roster) const {
  v1::RosterFile file;
  EDGETUNE_ASSIGN_OR_RETURN(
      *file.mutable_head(),
      SignDocument(DocumentUse::kRoster, head.SerializeAsString(),
                   roster_key_));
  for (const v1::RosterEntry& entry : roster.entries()) {
    *file.add_entries() = entry;
  }
  // The number is spent before the document exists anywhere.
  EDGETUNE_RETURN_IF_ERROR(WriteKitFile(kit_.directory, kSequenceFile,
                                        fmt::format("{}\n", head.version())));
  EDGETUNE_RETURN_IF_ERROR(
      WriteKitFile(kit_.directory, kRosterFile, file.SerializeAsString()));
  return PublishedRoster{file.head(), std::move(head), std::move(roster)};
}

absl::StatusOr<std::string> EnrollmentKit::Certify(const std::string& device,
                                                   std::string_view request_der,
                                                   absl::Time now) const {
  CertificateRequest wish;
  wish.common_name = device;
  wish.uri = IdentityUri({PartyRole::kDevice, device});
  wish.client_auth = true;
  wish.not_before = now - kClockSkew;
  wish.not_after = now + kDeviceCertificateLife;
  return CertifyRequest(ca_, wish, request_der);
}

absl::StatusOr<std::vector<TokenRecord>> EnrollmentKit::ReadTokens() const {
  const std::string origin = OriginOf(kit_.directory, kTokensFile);
  EDGETUNE_ASSIGN_OR_RETURN(const nlohmann::json json,
                            ReadList(kit_.directory, kTokensFile));
  std::vector<TokenRecord> tokens;
  const auto list = json.find("tokens");
  if (list == json.end()) return tokens;
  if (!list->is_array()) return BadKitFile(origin, "'tokens' is not a list");
  for (const nlohmann::json& entry : *list) {
    EDGETUNE_ASSIGN_OR_RETURN(TokenRecord token, ParseToken(entry, origin));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

absl::Status EnrollmentKit::AddTokens(
    const std::vector<TokenRecord>& added) const {
  EDGETUNE_ASSIGN_OR_RETURN(const KitLock lock, KitLock::Take(kit_.directory));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<TokenRecord> tokens, ReadTokens());
  EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster, ReadRoster());
  std::set<std::string> named;
  for (const TokenRecord& token : added) {
    if (!named.insert(token.name).second ||
        roster.roster.Find(ClientIdOf(token.name)).has_value()) {
      return Annotate(
          absl::AlreadyExistsError(fmt::format(
              "a device '{}' is in the roster, or named twice", token.name)),
          ErrorKind::kUsage, "a name is given once: take another");
    }
  }
  std::erase_if(tokens, [&](const TokenRecord& token) {
    return named.count(token.name) > 0;
  });
  tokens.insert(tokens.end(), added.begin(), added.end());
  return WriteKitFile(kit_.directory, kTokensFile, TokensText(tokens));
}

absl::StatusOr<EnrollmentKit::Expiries> EnrollmentKit::ReadExpiries() const {
  EDGETUNE_ASSIGN_OR_RETURN(const nlohmann::json json,
                            ReadList(kit_.directory, kCertificatesFile));
  Expiries expiries;
  const auto list = json.find("expires_ms");
  if (list == json.end()) return expiries;
  for (const auto& [name, time] : list->items()) {
    if (!time.is_number_integer()) {
      return BadKitFile(OriginOf(kit_.directory, kCertificatesFile),
                        fmt::format("'{}' has no date", name.substr(0, 64)));
    }
    expiries[name] = absl::FromUnixMillis(time.get<int64_t>());
  }
  return expiries;
}

absl::Status EnrollmentKit::RecordExpiries(const Expiries& changed) const {
  EDGETUNE_ASSIGN_OR_RETURN(const KitLock lock, KitLock::Take(kit_.directory));
  EDGETUNE_ASSIGN_OR_RETURN(Expiries expiries, ReadExpiries());
  for (const auto& [name, time] : changed) expiries[name] = time;
  nlohmann::ordered_json json;
  json["schema_version"] = kKitVersion;
  json["expires_ms"] = nlohmann::ordered_json::object();
  for (const auto& [name, time] : expiries) {
    json["expires_ms"][name] = absl::ToUnixMillis(time);
  }
  return WriteKitFile(kit_.directory, kCertificatesFile, json.dump(1) + "\n");
}

}  // namespace edgetune
