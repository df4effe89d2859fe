#include "privacy/identity/kit.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/status.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit_description.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

constexpr char kMixedHint[] =
    "the kit's files come from different provisionings: copy it whole";

// "a device", "an operator".
std::string WithArticle(PartyRole role) {
  const bool vowel =
      role == PartyRole::kOperator || role == PartyRole::kEnrollment;
  return fmt::format("{} {}", vowel ? "an" : "a", PartyRoleName(role));
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

absl::Status CheckInDate(const CertificateFacts& facts, std::string_view file,
                         absl::Time now) {
  if (now >= facts.not_before && now < facts.not_after) {
    return absl::OkStatus();
  }
  const bool expired = now >= facts.not_after;
  return Annotate(absl::FailedPreconditionError(fmt::format(
                      "the certificate in {} {} {}; it is {}", file,
                      expired ? "expired at" : "is not valid before",
                      TimeText(expired ? facts.not_after : facts.not_before),
                      TimeText(now))),
                  ErrorKind::kIdentity,
                  expired ? "`edgetune kit renew`, where the enrolment kit is, "
                            "makes a new one"
                          : "set this machine's clock right");
}

absl::Status CheckCertificates(const Kit& kit, absl::Time now) {
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(
        Prefix(status, fmt::format("kit {} is not usable", kit.directory)),
        ErrorKind::kIdentity, kMixedHint);
  };
  EDGETUNE_RETURN_IF_ERROR(
      annotate(CheckIssuedBy(kit.certificate_pem, kit.ca_pem)));
  EDGETUNE_RETURN_IF_ERROR(
      annotate(CheckKeyMatches(kit.certificate_pem, kit.key_pem)));
  const auto facts = ReadCertificate(kit.certificate_pem);
  EDGETUNE_RETURN_IF_ERROR(annotate(facts.status()));
  const auto ca = ReadCertificate(kit.ca_pem);
  EDGETUNE_RETURN_IF_ERROR(annotate(ca.status()));
  EDGETUNE_RETURN_IF_ERROR(annotate(CheckInDate(*ca, kCaFile, now)));
  EDGETUNE_RETURN_IF_ERROR(annotate(CheckInDate(*facts, kTlsFile, now)));
  const auto identity = IdentityFromUris(facts->uris);
  EDGETUNE_RETURN_IF_ERROR(annotate(identity.status()));
  if (identity->role == kit.identity.role && identity->id == kit.identity.id) {
    return absl::OkStatus();
  }
  return annotate(absl::PermissionDeniedError(
      fmt::format("{} is of {}, {} of {}", kTlsFile, IdentityUri(*identity),
                  kKitFile, IdentityUri(kit.identity))));
}

absl::Status ReadTlsFile(Kit* kit) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string text,
                            ReadKitFile(kit->directory, kTlsFile));
  const size_t at = text.find("-----BEGIN CERTIFICATE-----");
  if (at == 0 || at == std::string::npos) {
    WipeString(text);
    return BadKitFile(fmt::format("{}/{}", kit->directory, kTlsFile),
                      "wanted a private key, then a certificate");
  }
  kit->key_pem = text.substr(0, at);
  kit->certificate_pem = text.substr(at);
  WipeString(text);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadKeyText(const Kit& kit, const char* file) {
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey key,
                            ReadSigningKey(kit.directory, file));
  return key.ToPem();
}

absl::Status ReadRoundKey(Kit* kit) {
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey key,
                            ReadSigningKey(kit->directory, kRoundKeyFile));
  for (const PublicKey& pinned : kit->trusted.round) {
    if (pinned.raw() != key.public_key().raw()) continue;
    EDGETUNE_ASSIGN_OR_RETURN(kit->round_key_pem, key.ToPem());
    return absl::OkStatus();
  }
  return Annotate(absl::PermissionDeniedError(
                      fmt::format("{}/{} is none of the round keys of {}",
                                  kit->directory, kRoundKeyFile, kKitFile)),
                  ErrorKind::kIdentity, kMixedHint);
}

// What only a kit of its role holds.
absl::Status ReadOwnKeys(Kit* kit) {
  if (kit->identity.role == PartyRole::kServer) return ReadRoundKey(kit);
  if (kit->identity.role == PartyRole::kDevice) {
    EDGETUNE_ASSIGN_OR_RETURN(kit->identity_key_pem,
                              ReadKeyText(*kit, kIdentityKeyFile));
  }
  // The release key may well be kept elsewhere.
  const std::string release =
      fmt::format("{}/{}", kit->directory, kReleaseKeyFile);
  std::error_code ignored;
  if (kit->identity.role == PartyRole::kOperator &&
      std::filesystem::exists(release, ignored)) {
    kit->release_key_path = release;
  }
  return absl::OkStatus();
}

absl::Status CheckRole(const Kit& kit, PartyRole wanted) {
  if (kit.identity.role == wanted) return absl::OkStatus();
  return Annotate(
      absl::PermissionDeniedError(
          fmt::format("{}: this is {} kit, wanted {} kit", kit.directory,
                      WithArticle(kit.identity.role), WithArticle(wanted))),
      ErrorKind::kIdentity,
      fmt::format("name the directory of {} kit", WithArticle(wanted)));
}

}  // namespace

absl::StatusOr<Kit> LoadKit(const std::string& directory, PartyRole role,
                            absl::Time now) {
  EDGETUNE_ASSIGN_OR_RETURN(KitDescription description,
                            ReadKitDescription(directory));
  Kit kit;
  kit.directory = directory;
  kit.identity = std::move(description.identity);
  kit.server_address = std::move(description.server_address);
  kit.enroll_address = std::move(description.enroll_address);
  kit.trusted = std::move(description.trusted);
  EDGETUNE_RETURN_IF_ERROR(CheckRole(kit, role));
  EDGETUNE_ASSIGN_OR_RETURN(kit.ca_pem, ReadKitFile(directory, kCaFile));
  EDGETUNE_RETURN_IF_ERROR(ReadTlsFile(&kit));
  EDGETUNE_RETURN_IF_ERROR(CheckCertificates(kit, now));
  EDGETUNE_RETURN_IF_ERROR(ReadOwnKeys(&kit));
  return kit;
}

absl::StatusOr<KitFacts> ReadKitFacts(const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(KitDescription description,
                            ReadKitDescription(directory));
  return KitFacts{std::move(description.identity),
                  std::move(description.trusted)};
}

std::string TlsPathOf(const Kit& kit) {
  return fmt::format("{}/{}", kit.directory, kTlsFile);
}

std::string CaPathOf(const Kit& kit) {
  return fmt::format("{}/{}", kit.directory, kCaFile);
}

absl::Status ReplaceCertificate(const std::string& key_pem,
                                const std::string& certificate_pem,
                                absl::Time now, Kit* kit) {
  Kit next = *kit;
  next.key_pem = key_pem;
  next.certificate_pem = certificate_pem;
  EDGETUNE_RETURN_IF_ERROR(CheckCertificates(next, now));
  std::string both = key_pem + certificate_pem;
  const absl::Status written = WriteKitFile(kit->directory, kTlsFile, both);
  WipeString(both);
  EDGETUNE_RETURN_IF_ERROR(written);
  WipeString(kit->key_pem);
  *kit = std::move(next);
  return absl::OkStatus();
}

}  // namespace edgetune
