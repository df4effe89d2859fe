#include "privacy/identity/invitation.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit_description.h"
#include "privacy/identity/kit_files.h"
#include "privacy/identity/length_prefix.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr char kTlsKeyFile[] = "tls.key.pem";
constexpr char kRequestFile[] = "request.der";

KitDescription DescriptionOf(const Invitation& invitation) {
  return {{PartyRole::kDevice, invitation.name},
          invitation.server_address,
          invitation.enroll_address,
          invitation.trusted};
}

std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

absl::Status CheckAbsent(const std::string& directory) {
  std::error_code ignored;
  if (!fs::exists(directory, ignored)) return absl::OkStatus();
  return Annotate(
      absl::AlreadyExistsError(fmt::format("{} exists already", directory)),
      ErrorKind::kUsage, "name a new directory");
}

// Keys and request of a device that has none yet, whole or not at all.
absl::Status MakeKeys(const std::string& directory, const std::string& name) {
  EDGETUNE_RETURN_IF_ERROR(
      MakeDirectories(fs::absolute(directory).parent_path(), 0700));
  EDGETUNE_ASSIGN_OR_RETURN(auto fresh, NewDirectory::Create(directory));
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey identity, SigningKey::Generate());
  EDGETUNE_RETURN_IF_ERROR(
      WriteSigningKey(fresh.path(), kIdentityKeyFile, identity));
  EDGETUNE_ASSIGN_OR_RETURN(SigningRequest request, MakeSigningRequest(name));
  const absl::Status written =
      WriteKitFile(fresh.path(), kTlsKeyFile, request.key_pem);
  WipeString(request.key_pem);
  EDGETUNE_RETURN_IF_ERROR(written);
  EDGETUNE_RETURN_IF_ERROR(
      WriteKitFile(fresh.path(), kRequestFile, request.request_der));
  return fresh.Publish(directory);
}

std::string PendingDirectory(const std::string& kit) {
  return kit + ".enrolling";
}

std::string ProofBytes(std::string_view use,
                       std::initializer_list<std::string_view> fields) {
  std::string bytes;
  AppendWithLength(fmt::format("{}{}", kIdentityLabel, use), &bytes);
  for (const std::string_view field : fields) AppendWithLength(field, &bytes);
  return bytes;
}

}  // namespace

absl::StatusOr<NewInvitation> MakeInvitation(const Kit& enrollment_kit,
                                             const std::string& name,
                                             absl::Time expires) {
  if (!IsPartyId(name)) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "device id '{}': wanted 1 to 64 of a-z 0-9 . _ -", name)),
        ErrorKind::kUsage);
  }
  NewInvitation made;
  EDGETUNE_ASSIGN_OR_RETURN(std::string token, SecureRandom(kTokenBytes));
  made.record = {name, Sha256Bytes(token), expires};
  made.invitation = {name,
                     enrollment_kit.server_address,
                     enrollment_kit.enroll_address,
                     enrollment_kit.ca_pem,
                     enrollment_kit.trusted,
                     std::move(token),
                     expires};
  return made;
}

absl::Status WriteInvitation(const std::string& directory,
                             const Invitation& invitation) {
  const std::string target = WithoutSlash(directory);
  EDGETUNE_RETURN_IF_ERROR(CheckAbsent(target));
  EDGETUNE_RETURN_IF_ERROR(
      MakeDirectories(fs::absolute(target).parent_path(), 0700));
  nlohmann::ordered_json json = ToJson(DescriptionOf(invitation));
  json["token"] = absl::Base64Escape(invitation.token);
  json["expires_ms"] = absl::ToUnixMillis(invitation.expires);
  EDGETUNE_ASSIGN_OR_RETURN(auto fresh, NewDirectory::Create(target));
  EDGETUNE_RETURN_IF_ERROR(
      WriteKitFile(fresh.path(), kCaFile, invitation.ca_pem));
  EDGETUNE_RETURN_IF_ERROR(
      WriteKitFile(fresh.path(), kInvitationFile, json.dump(2) + "\n"));
  return fresh.Publish(target);
}

absl::StatusOr<Invitation> LoadInvitation(const std::string& directory,
                                          absl::Time now) {
  const std::string origin = fmt::format("{}/{}", directory, kInvitationFile);
  EDGETUNE_ASSIGN_OR_RETURN(const nlohmann::json json,
                            ReadKitJson(directory, kInvitationFile));
  EDGETUNE_ASSIGN_OR_RETURN(KitDescription description,
                            ParseKitDescription(json, origin));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string token,
                            KitText(json, "token", origin));
  Invitation invitation;
  const auto expires = json.find("expires_ms");
  if (!absl::Base64Unescape(token, &invitation.token) ||
      invitation.token.size() != kTokenBytes || expires == json.end() ||
      !expires->is_number_integer() ||
      description.identity.role != PartyRole::kDevice ||
      description.enroll_address.empty()) {
    return BadKitFile(origin, "not an invitation of a device");
  }
  invitation.name = std::move(description.identity.id);
  invitation.server_address = std::move(description.server_address);
  invitation.enroll_address = std::move(description.enroll_address);
  invitation.trusted = std::move(description.trusted);
  EDGETUNE_ASSIGN_OR_RETURN(invitation.ca_pem, ReadKitFile(directory, kCaFile));
  invitation.expires = absl::FromUnixMillis(expires->get<int64_t>());
  if (now < invitation.expires) return invitation;
  return Annotate(absl::FailedPreconditionError(fmt::format(
                      "{}: the token expired at {}", origin,
                      absl::FormatTime("%Y-%m-%d %H:%M UTC", invitation.expires,
                                       absl::UTCTimeZone()))),
                  ErrorKind::kIdentity, "ask for a new invitation");
}

absl::StatusOr<PendingKit> PrepareKit(const std::string& directory,
                                      const std::string& name) {
  const std::string target = WithoutSlash(directory);
  EDGETUNE_RETURN_IF_ERROR(CheckAbsent(target));
  const std::string pending = PendingDirectory(target);
  std::error_code ignored;
  if (!fs::exists(pending, ignored)) {
    EDGETUNE_RETURN_IF_ERROR(MakeKeys(pending, name));
  }
  EDGETUNE_ASSIGN_OR_RETURN(SigningKey identity,
                            ReadSigningKey(pending, kIdentityKeyFile));
  PendingKit result{target, std::move(identity), "", ""};
  EDGETUNE_ASSIGN_OR_RETURN(result.key_pem, ReadKitFile(pending, kTlsKeyFile));
  EDGETUNE_ASSIGN_OR_RETURN(result.request_der,
                            ReadKitFile(pending, kRequestFile));
  return result;
}

absl::Status FinishKit(const Invitation& invitation,
                       const std::string& certificate_pem, absl::Time now,
                       PendingKit* pending) {
  EDGETUNE_ASSIGN_OR_RETURN(auto fresh,
                            NewDirectory::Create(pending->directory));
  const std::string& path = fresh.path();
  EDGETUNE_RETURN_IF_ERROR(WriteKitFile(path, kCaFile, invitation.ca_pem));
  EDGETUNE_RETURN_IF_ERROR(WriteKitFile(
      path, kKitFile, ToJson(DescriptionOf(invitation)).dump(2) + "\n"));
  EDGETUNE_RETURN_IF_ERROR(
      WriteSigningKey(path, kIdentityKeyFile, pending->identity_key));
  std::string both = pending->key_pem + certificate_pem;
  const absl::Status written = WriteKitFile(path, kTlsFile, both);
  WipeString(both);
  EDGETUNE_RETURN_IF_ERROR(written);
  auto kit = LoadKit(path, PartyRole::kDevice, now);
  if (!kit.ok()) {
    return Prefix(kit.status(), "the enrolment service's answer does not fit");
  }
  WipeString(kit->key_pem);
  WipeString(*kit->identity_key_pem);
  EDGETUNE_RETURN_IF_ERROR(fresh.Publish(pending->directory));
  WipeString(pending->key_pem);
  std::error_code ignored;  // what stays is a copy of the kit's own keys
  fs::remove_all(PendingDirectory(pending->directory), ignored);
  return absl::OkStatus();
}

std::string EnrollProofBytes(std::string_view token,
                             std::string_view request_der,
                             std::string_view identity_key) {
  return ProofBytes(
      "enroll", {Sha256Bytes(token), Sha256Bytes(request_der), identity_key});
}

std::string RenewProofBytes(std::string_view device,
                            std::string_view request_der) {
  return ProofBytes("renew", {device, Sha256Bytes(request_der)});
}

}  // namespace edgetune
