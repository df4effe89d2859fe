#ifndef EDGETUNE_PRIVACY_IDENTITY_KIT_FILES_H_
#define EDGETUNE_PRIVACY_IDENTITY_KIT_FILES_H_

// Names inside kits and how their files are written; for the sources of this
// room.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/signature.h"

namespace edgetune {

// Every kit.
inline constexpr char kKitFile[] = "kit.json";
inline constexpr char kCaFile[] = "ca.pem";
// Private key, then certificate: one file, so that both change at once.
inline constexpr char kTlsFile[] = "tls.pem";
// By role.
inline constexpr char kIdentityKeyFile[] = "identity.key.pem";
inline constexpr char kRoundKeyFile[] = "round.key.pem";
inline constexpr char kReleaseKeyFile[] = "release.key.pem";
inline constexpr char kRosterFile[] = "roster.pb";
// The enrolment kit alone.
inline constexpr char kCaKeyFile[] = "ca.key.pem";
inline constexpr char kRosterKeyFile[] = "roster.key.pem";
inline constexpr char kSequenceFile[] = "sequence";
inline constexpr char kTokensFile[] = "tokens.json";
inline constexpr char kCertificatesFile[] = "certificates.json";
inline constexpr char kLockFile[] = "lock";
// What a device that is to enrol gets.
inline constexpr char kInvitationFile[] = "invitation.json";

inline constexpr int kKitVersion = 2;

// A file of a kit; the error says which kit is unusable. kIdentity.
absl::StatusOr<std::string> ReadKitFile(const std::string& directory,
                                        const char* name);
// Mode 0600, whole or not at all.
absl::Status WriteKitFile(const std::string& directory, const char* name,
                          std::string_view text);
absl::Status WriteSigningKey(const std::string& directory, const char* name,
                             const SigningKey& key);
absl::StatusOr<SigningKey> ReadSigningKey(const std::string& directory,
                                          const char* name);

// A directory beside the one wanted: renamed to it when complete, removed
// otherwise. Move-only.
class NewDirectory {
 public:
  static absl::StatusOr<NewDirectory> Create(const std::string& target);
  NewDirectory(NewDirectory&& other) noexcept;
  ~NewDirectory();

  const std::string& path() const { return path_; }
  // AlreadyExists, unless nothing or an empty directory is there.
  absl::Status Publish(const std::string& target);

 private:
  explicit NewDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// One process at a time changes a kit: waits for the lock, holds it for life.
// Threads of one process exclude each other likewise.
class KitLock {
 public:
  static absl::StatusOr<KitLock> Take(const std::string& directory);
  KitLock(KitLock&& other) noexcept;
  ~KitLock();

 private:
  explicit KitLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_KIT_FILES_H_
