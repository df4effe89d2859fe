#include "privacy/identity/provision.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit_certificate.h"
#include "privacy/identity/kit_description.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kAuthorityLife = absl::Hours(24 * 3650);
constexpr int kEnrollPort = 7444;

// Everything made once for all kits.
struct Authority {
  CertificateAndKey ca;
  SigningKey release;
  SigningKey round;
  SigningKey roster;

  TrustedKeys trusted() const {
    return {
        {release.public_key()}, {round.public_key()}, {roster.public_key()}};
  }
};

absl::Status Refuse(std::string message) {
  return Annotate(absl::InvalidArgumentError(message), ErrorKind::kUsage);
}

absl::Status CheckNames(const ProvisionOptions& options) {
  std::set<std::string> seen;
  for (const auto* names : {&options.device_ids, &options.invited_ids}) {
    for (const std::string& id : *names) {
      if (!IsPartyId(id)) {
        return Refuse(
            fmt::format("device id '{}': wanted 1 to 64 of a-z 0-9 . _ -", id));
      }
      if (!seen.insert(id).second) {
        return Refuse(fmt::format("device id '{}' is named twice", id));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const ProvisionOptions& options) {
  if (options.directory.empty()) {
    return Refuse("no directory is named for the kits");
  }
  for (const std::string& address :
       {options.server_address, options.enroll_address}) {
    if (!HostOf(address).has_value()) {
      return Refuse(fmt::format("address '{}' is not host:port", address));
    }
  }
  for (const absl::Duration life :
       {options.server_life, options.device_life, options.token_life}) {
    if (life <= absl::ZeroDuration() || life > kAuthorityLife) {
      return Refuse(
          "the life of certificates and tokens must be above 0 and "
          "at most 10 years");
    }
  }
  return CheckNames(options);
}

absl::Status CheckTarget(const std::string& target) {
  std::error_code error;
  const bool exists = fs::exists(target, error);
  if (!exists ||
      (fs::is_directory(target, error) && fs::is_empty(target, error))) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::AlreadyExistsError(
          fmt::format("{} exists and is not an empty directory", target)),
      ErrorKind::kUsage,
      "name a new directory: kits already handed out keep working only with "
      "their own CA");
}

absl::StatusOr<Authority> MakeAuthority(const ProvisionOptions& options) {
  // Two provisionings must not have CAs of one name: errors would confuse.
  EDGETUNE_ASSIGN_OR_RETURN(const std::string tag, SecureRandom(4));
  EDGETUNE_ASSIGN_OR_RETURN(
      CertificateAndKey ca,
      MakeCertificateAuthority(fmt::format("edgetune CA {}", ToHex(tag)),
                               options.now - kClockSkew,
                               options.now + kAuthorityLife));
  EDGETUNE_ASSIGN_OR_RETURN(SigningKey release, SigningKey::Generate());
  EDGETUNE_ASSIGN_OR_RETURN(SigningKey round, SigningKey::Generate());
  EDGETUNE_ASSIGN_OR_RETURN(SigningKey roster, SigningKey::Generate());
  return Authority{std::move(ca), std::move(release), std::move(round),
                   std::move(roster)};
}

// Makes the kits below one directory that nobody sees yet.
class KitMaker {
 public:
  KitMaker(const ProvisionOptions& options, const Authority& authority,
           std::string root)
      : options_(options), authority_(authority), root_(std::move(root)) {}

  absl::Status MakeAll();

 private:
  absl::Status MakeKit(const Identity& identity, const std::string& directory);
  absl::Status MakeDevices();
  absl::Status MakeEnrollmentKit();
  absl::Status Invite(const EnrollmentKit& kit);
  std::string PathOf(std::string_view name) const {
    return fmt::format("{}/{}", root_, name);
  }

  const ProvisionOptions& options_;
  const Authority& authority_;
  const std::string root_;
  std::vector<v1::RosterEntry> entries_;  // of the devices made here
};

absl::Status KitMaker::MakeKit(const Identity& identity,
                               const std::string& directory) {
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(directory, 0700));
  EDGETUNE_RETURN_IF_ERROR(
      WriteKitFile(directory, kCaFile, authority_.ca.certificate_pem));
  const KitDescription description{identity, options_.server_address,
                                   options_.enroll_address,
                                   authority_.trusted()};
  EDGETUNE_RETURN_IF_ERROR(WriteNewTls(authority_.ca, description, options_.now,
                                       identity.role == PartyRole::kDevice
                                           ? options_.device_life
                                           : options_.server_life,
                                       directory));
  return WriteKitFile(directory, kKitFile, ToJson(description).dump(2) + "\n");
}

absl::Status KitMaker::MakeDevices() {
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(PathOf("devices"), 0700));
  for (const std::string& id : options_.device_ids) {
    const std::string directory = PathOf("devices/" + id);
    EDGETUNE_RETURN_IF_ERROR(MakeKit({PartyRole::kDevice, id}, directory));
    EDGETUNE_ASSIGN_OR_RETURN(const SigningKey identity,
                              SigningKey::Generate());
    EDGETUNE_RETURN_IF_ERROR(
        WriteSigningKey(directory, kIdentityKeyFile, identity));
    entries_.push_back(
        MakeRosterEntry(id, identity.public_key().raw(), options_.now));
  }
  return FsyncDirectory(PathOf("devices"));
}

absl::Status KitMaker::Invite(const EnrollmentKit& kit) {
  if (options_.invited_ids.empty()) return absl::OkStatus();
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(PathOf("invitations"), 0700));
  std::vector<TokenRecord> records;
  for (const std::string& id : options_.invited_ids) {
    EDGETUNE_ASSIGN_OR_RETURN(
        NewInvitation made,
        MakeInvitation(kit.kit(), id, options_.now + options_.token_life));
    const absl::Status written =
        WriteInvitation(PathOf("invitations/" + id), made.invitation);
    WipeString(made.invitation.token);
    EDGETUNE_RETURN_IF_ERROR(written);
    records.push_back(std::move(made.record));
  }
  return kit.AddTokens(records);
}

absl::Status KitMaker::MakeEnrollmentKit() {
  const std::string directory = PathOf("enroll");
  EDGETUNE_RETURN_IF_ERROR(
      MakeKit({PartyRole::kEnrollment, "enroll"}, directory));
  EDGETUNE_RETURN_IF_ERROR(
      WriteKitFile(directory, kCaKeyFile, authority_.ca.key_pem));
  EDGETUNE_RETURN_IF_ERROR(
      WriteSigningKey(directory, kRosterKeyFile, authority_.roster));
  EDGETUNE_ASSIGN_OR_RETURN(const EnrollmentKit kit,
                            EnrollmentKit::Load(directory, options_.now));
  EDGETUNE_RETURN_IF_ERROR(
      kit.ChangeRoster(options_.now, [this](auto& entries) {
        entries = entries_;
        return absl::OkStatus();
      }));
  EnrollmentKit::Expiries expiries;
  for (const std::string& id : options_.device_ids) {
    expiries[id] = options_.now + options_.device_life;
  }
  EDGETUNE_RETURN_IF_ERROR(kit.RecordExpiries(expiries));
  return Invite(kit);
}

absl::Status KitMaker::MakeAll() {
  EDGETUNE_RETURN_IF_ERROR(MakeDevices());
  EDGETUNE_RETURN_IF_ERROR(MakeEnrollmentKit());
  const std::string server = PathOf("server");
  EDGETUNE_RETURN_IF_ERROR(MakeKit({PartyRole::kServer, "server"}, server));
  EDGETUNE_RETURN_IF_ERROR(
      WriteSigningKey(server, kRoundKeyFile, authority_.round));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string roster,
                            ReadKitFile(PathOf("enroll"), kRosterFile));
  EDGETUNE_RETURN_IF_ERROR(WriteKitFile(server, kRosterFile, roster));
  const std::string op = PathOf("operator");
  EDGETUNE_RETURN_IF_ERROR(MakeKit({PartyRole::kOperator, "operator"}, op));
  EDGETUNE_RETURN_IF_ERROR(
      WriteSigningKey(op, kReleaseKeyFile, authority_.release));
  return FsyncDirectory(root_);
}

std::string DefaultEnrollAddress(const std::string& server_address) {
  return fmt::format("{}:{}",
                     server_address.substr(0, server_address.rfind(':')),
                     kEnrollPort);
}

}  // namespace

absl::Status Provision(const ProvisionOptions& wish) {
  ProvisionOptions options = wish;
  if (options.enroll_address.empty()) {
    options.enroll_address = DefaultEnrollAddress(options.server_address);
  }
  EDGETUNE_RETURN_IF_ERROR(CheckOptions(options));
  std::string target = fs::absolute(options.directory).lexically_normal();
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  EDGETUNE_RETURN_IF_ERROR(CheckTarget(target));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(fs::path(target).parent_path()));
  EDGETUNE_ASSIGN_OR_RETURN(Authority authority, MakeAuthority(options));
  absl::Status status;
  {
    auto directory = NewDirectory::Create(target);
    status = directory.status();
    if (status.ok()) {
      status = KitMaker(options, authority, directory->path()).MakeAll();
    }
    if (status.ok()) status = directory->Publish(target);
  }
  WipeString(authority.ca.key_pem);
  return status;
}

}  // namespace edgetune
