#include "privacy/identity/renewal.h"

#include <fmt/format.h>

#include <utility>

#include "base/status.h"
#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/kit_certificate.h"
#include "privacy/identity/kit_description.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

absl::Status Refuse(std::string message, std::string hint) {
  return Annotate(absl::PermissionDeniedError(std::move(message)),
                  ErrorKind::kIdentity, std::move(hint));
}

// The CA of the enrolment kit, if the other kit is of the same one.
absl::StatusOr<CertificateAndKey> CommonAuthority(
    const std::string& directory, const std::string& enrollment_kit) {
  CertificateAndKey ca;
  EDGETUNE_ASSIGN_OR_RETURN(ca.certificate_pem,
                            ReadKitFile(enrollment_kit, kCaFile));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string other,
                            ReadKitFile(directory, kCaFile));
  if (other != ca.certificate_pem) {
    return Refuse(
        fmt::format("{} and {} have different CAs", directory, enrollment_kit),
        "both kits must come from one `edgetune provision`");
  }
  EDGETUNE_ASSIGN_OR_RETURN(ca.key_pem,
                            ReadKitFile(enrollment_kit, kCaKeyFile));
  const absl::Status matches = CheckKeyMatches(ca.certificate_pem, ca.key_pem);
  if (matches.ok()) return ca;
  WipeString(ca.key_pem);
  return Annotate(Prefix(matches, enrollment_kit), ErrorKind::kIdentity,
                  "the enrolment kit's files belong together");
}

absl::Status CheckLife(const CertificateAndKey& ca, absl::Duration life,
                       absl::Time now) {
  EDGETUNE_ASSIGN_OR_RETURN(const CertificateFacts facts,
                            ReadCertificate(ca.certificate_pem));
  if (life > absl::ZeroDuration() && now + life <= facts.not_after) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "a certificate of {} days: wanted at least one, and no end after "
          "the CA's, in {} days",
          absl::ToInt64Hours(life) / 24,
          absl::ToInt64Hours(facts.not_after - now) / 24)),
      ErrorKind::kUsage);
}

absl::Status CheckEnrolled(const EnrollmentKit& kit, const std::string& name) {
  EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster, kit.ReadRoster());
  const auto at = roster.roster.Find(ClientIdOf(name));
  if (!at.has_value()) {
    return Annotate(
        absl::NotFoundError(fmt::format("the roster has no device '{}'", name)),
        ErrorKind::kIdentity, "invite it: `edgetune device invite`");
  }
  if (roster.roster.Member(*at).active) return absl::OkStatus();
  return Refuse(fmt::format("device '{}' is revoked", name),
                "revoked devices stay out; invite it under another name");
}

}  // namespace

absl::StatusOr<KitStatus> ReadKitStatus(const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(KitDescription kit, ReadKitDescription(directory));
  EDGETUNE_ASSIGN_OR_RETURN(std::string both, ReadKitFile(directory, kTlsFile));
  const auto facts = ReadCertificate(both);
  WipeString(both);
  if (!facts.ok()) {
    return Annotate(
        Prefix(facts.status(), fmt::format("{}/{}", directory, kTlsFile)),
        ErrorKind::kIdentity);
  }
  return KitStatus{std::move(kit.identity), std::move(kit.server_address),
                   std::move(kit.enroll_address), facts->not_before,
                   facts->not_after};
}

absl::StatusOr<KitStatus> RenewKit(const std::string& directory,
                                   const std::string& enrollment_kit,
                                   absl::Duration life, absl::Time now) {
  EDGETUNE_ASSIGN_OR_RETURN(const KitDescription kit,
                            ReadKitDescription(directory));
  EDGETUNE_ASSIGN_OR_RETURN(CertificateAndKey ca,
                            CommonAuthority(directory, enrollment_kit));
  absl::Status status = CheckLife(ca, life, now);
  const bool device = kit.identity.role == PartyRole::kDevice;
  if (status.ok() && device) {
    const auto authority = EnrollmentKit::Load(enrollment_kit, now);
    status = authority.ok() ? CheckEnrolled(*authority, kit.identity.id)
                            : authority.status();
    // Before the certificate exists, so that none is unknown to the list.
    if (status.ok()) {
      status = authority->RecordExpiries({{kit.identity.id, now + life}});
    }
  }
  if (status.ok()) status = WriteNewTls(ca, kit, now, life, directory);
  WipeString(ca.key_pem);
  EDGETUNE_RETURN_IF_ERROR(status);
  return ReadKitStatus(directory);
}

}  // namespace edgetune
