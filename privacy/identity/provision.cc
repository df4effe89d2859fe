#include <arpa/inet.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// Devices with a slow clock accept the certificates at once.
constexpr absl::Duration kClockSkew = absl::Minutes(5);
constexpr absl::Duration kAuthorityLife = absl::Hours(24 * 3650);

// A directory beside the one wanted: renamed to it when complete, removed
// otherwise.
class NewDirectory {
 public:
  static absl::StatusOr<NewDirectory> Create(const std::string& target) {
    std::string path = target + ".partXXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      return ErrnoStatus(errno, "cannot create", target);
    }
    return NewDirectory(std::move(path));
  }
  NewDirectory(NewDirectory&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  ~NewDirectory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  absl::Status Publish(const std::string& target) {
    // Replaces an empty directory; any other is refused by the kernel.
    if (rename(path_.c_str(), target.c_str()) != 0) {
      if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) {
        return absl::AlreadyExistsError(
            fmt::format("{} already exists", target));
      }
      return ErrnoStatus(errno, "cannot create", target);
    }
    path_.clear();
    return FsyncDirectory(fs::path(target).parent_path());
  }

 private:
  explicit NewDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Everything made once for all kits.
struct Authority {
  CertificateAndKey ca;
  SigningKey release;
  SigningKey round;
};

struct NewKit {
  Identity identity;
  std::string server_address;
  CertificateAndKey certificate;
};

absl::Status CheckOptions(const ProvisionOptions& options) {
  const auto refuse = [](std::string message) {
    return Annotate(absl::InvalidArgumentError(message), ErrorKind::kUsage);
  };
  if (options.directory.empty()) {
    return refuse("no directory is named for the kits");
  }
  if (!HostOf(options.server_address).has_value()) {
    return refuse(fmt::format("server address '{}' is not host:port",
                              options.server_address));
  }
  std::set<std::string> seen;
  for (const std::string& id : options.device_ids) {
    if (!IsPartyId(id)) {
      return refuse(
          fmt::format("device id '{}': wanted 1 to 64 of a-z 0-9 . _ -", id));
    }
    if (!seen.insert(id).second) {
      return refuse(fmt::format("device id '{}' is named twice", id));
    }
  }
  if (options.server_life <= absl::ZeroDuration() ||
      options.device_life <= absl::ZeroDuration() ||
      std::max(options.server_life, options.device_life) > kAuthorityLife) {
    return refuse("a certificate's life must be above 0 and at most 10 years");
  }
  return absl::OkStatus();
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
  return Authority{std::move(ca), std::move(release), std::move(round)};
}

bool IsAddress(const std::string& host) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

void AddServerNames(const std::string& host, CertificateRequest* request) {
  request->dns_names = {"localhost"};
  request->addresses = {"127.0.0.1", "::1"};
  auto& names = IsAddress(host) ? request->addresses : request->dns_names;
  if (std::find(names.begin(), names.end(), host) == names.end()) {
    names.push_back(host);
  }
}

absl::StatusOr<NewKit> MakeKit(const ProvisionOptions& options,
                               const Authority& authority, Identity identity) {
  CertificateRequest request;
  request.common_name = identity.id;
  request.uri = IdentityUri(identity);
  request.not_before = options.now - kClockSkew;
  request.not_after =
      options.now + (identity.role == PartyRole::kDevice ? options.device_life
                                                         : options.server_life);
  request.server_auth = identity.role == PartyRole::kServer;
  request.client_auth = !request.server_auth;
  if (request.server_auth) {
    AddServerNames(*HostOf(options.server_address), &request);
  }
  EDGETUNE_ASSIGN_OR_RETURN(CertificateAndKey certificate,
                            IssueCertificate(authority.ca, request));
  return NewKit{std::move(identity), options.server_address,
                std::move(certificate)};
}

absl::Status WritePrivate(const std::string& directory, const char* name,
                          const std::string& text) {
  return WriteFileAtomically(fmt::format("{}/{}", directory, name), text, 0600);
}

absl::Status WriteSigningKey(const std::string& directory, const char* name,
                             const SigningKey& key) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string pem, key.ToPem());
  const absl::Status status = WritePrivate(directory, name, pem);
  WipeString(pem);
  return status;
}

std::string Description(const NewKit& kit, const Authority& authority) {
  const auto base64 = [](const SigningKey& key) {
    return absl::Base64Escape(key.public_key().raw());
  };
  using Json = nlohmann::ordered_json;
  Json json;
  json["schema_version"] = kKitVersion;
  json["role"] = std::string(PartyRoleName(kit.identity.role));
  json["id"] = kit.identity.id;
  json["server"] = kit.server_address;
  json["release_keys"] = Json::array({base64(authority.release)});
  json["round_keys"] = Json::array({base64(authority.round)});
  return json.dump(2) + "\n";
}

absl::Status WriteKit(const std::string& directory, const Authority& authority,
                      const NewKit& kit) {
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(directory, 0700));
  EDGETUNE_RETURN_IF_ERROR(
      WritePrivate(directory, kCaFile, authority.ca.certificate_pem));
  EDGETUNE_RETURN_IF_ERROR(WritePrivate(directory, kCertificateFile,
                                        kit.certificate.certificate_pem));
  EDGETUNE_RETURN_IF_ERROR(
      WritePrivate(directory, kKeyFile, kit.certificate.key_pem));
  EDGETUNE_RETURN_IF_ERROR(
      WritePrivate(directory, kKitFile, Description(kit, authority)));
  if (kit.identity.role == PartyRole::kServer) {
    return WriteSigningKey(directory, kRoundKeyFile, authority.round);
  }
  if (kit.identity.role == PartyRole::kOperator) {
    return WriteSigningKey(directory, kReleaseKeyFile, authority.release);
  }
  return absl::OkStatus();
}

absl::Status MakeAndWriteKit(const ProvisionOptions& options,
                             const Authority& authority, Identity identity,
                             const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(NewKit kit,
                            MakeKit(options, authority, std::move(identity)));
  const absl::Status status = WriteKit(directory, authority, kit);
  WipeString(kit.certificate.key_pem);
  return status;
}

absl::Status WriteAll(const ProvisionOptions& options,
                      const Authority& authority, const std::string& root) {
  const std::string ca = root + "/ca";
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(ca, 0700));
  EDGETUNE_RETURN_IF_ERROR(
      WritePrivate(ca, kCaFile, authority.ca.certificate_pem));
  EDGETUNE_RETURN_IF_ERROR(
      WritePrivate(ca, "ca.key.pem", authority.ca.key_pem));
  EDGETUNE_RETURN_IF_ERROR(MakeAndWriteKit(
      options, authority, {PartyRole::kServer, "server"}, root + "/server"));
  EDGETUNE_RETURN_IF_ERROR(MakeAndWriteKit(options, authority,
                                           {PartyRole::kOperator, "operator"},
                                           root + "/operator"));
  const std::string devices = root + "/devices";
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(devices, 0700));
  for (const std::string& id : options.device_ids) {
    EDGETUNE_RETURN_IF_ERROR(MakeAndWriteKit(
        options, authority, {PartyRole::kDevice, id}, devices + "/" + id));
  }
  EDGETUNE_RETURN_IF_ERROR(FsyncDirectory(devices));
  return FsyncDirectory(root);
}

}  // namespace

absl::Status Provision(const ProvisionOptions& options) {
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
    if (status.ok()) status = WriteAll(options, authority, directory->path());
    if (status.ok()) status = directory->Publish(target);
  }
  WipeString(authority.ca.key_pem);
  return status;
}

}  // namespace edgetune
