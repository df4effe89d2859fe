#ifndef EDGETUNE_PRIVACY_IDENTITY_ENROLLMENT_KIT_H_
#define EDGETUNE_PRIVACY_IDENTITY_ENROLLMENT_KIT_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/signature.h"
#include "privacy/identity/kit.h"
#include "privacy/identity/roster_file.h"

namespace edgetune {

inline constexpr absl::Duration kDeviceCertificateLife = absl::Hours(24 * 30);
// Of server, operator and enrolment service.
inline constexpr absl::Duration kServerCertificateLife = absl::Hours(24 * 365);
// After a third of its life a roster is signed again, changed or not.
inline constexpr absl::Duration kRosterLife = absl::Hours(24 * 30);
inline constexpr absl::Duration kRosterRefresh = absl::Hours(24 * 10);

// A one-time token, as the authority knows it.
struct TokenRecord {
  std::string name;    // of the device that may enrol with it
  std::string sha256;  // of the token, 32 bytes
  absl::Time expires;
};

// The enrolment authority: CA key, roster key, and the files in which it keeps
// what it decided. The keys never leave it. Several processes may use one
// directory (the service, `edgetune device`): every change holds its lock and
// appears whole or not at all. Methods are thread-safe. Errors: kIdentity for
// an unusable kit, the file system's otherwise.
class EnrollmentKit {
 public:
  static absl::StatusOr<EnrollmentKit> Load(const std::string& directory,
                                            absl::Time now);
  ~EnrollmentKit();
  EnrollmentKit(EnrollmentKit&&) = default;
  EnrollmentKit& operator=(EnrollmentKit&&) = delete;

  // The service's own TLS identity, addresses, pinned keys.
  const Kit& kit() const { return kit_; }

  // As it lies in the kit, expired or not. NotFound: none was signed yet.
  absl::StatusOr<PublishedRoster> ReadRoster() const;
  // Lets `change` edit the entries, then signs the next version, also when
  // nothing changed. Versions rise even if roster.pb was put back to an older
  // one: the highest number ever signed lies in a file of its own. An error of
  // `change` is handed on, and nothing is signed.
  using RosterChange =
      std::function<absl::Status(std::vector<v1::RosterEntry>& entries)>;
  absl::StatusOr<PublishedRoster> ChangeRoster(
      absl::Time now, const RosterChange& change) const;

  // A device certificate (PEM) for the key of a request, from now for 30 days.
  // InvalidArgument: as CertifyRequest.
  absl::StatusOr<std::string> Certify(const std::string& device,
                                      std::string_view request_der,
                                      absl::Time now) const;

  absl::StatusOr<std::vector<TokenRecord>> ReadTokens() const;
  // A name that was invited before gets the new token; the older one is void.
  // AlreadyExists (kUsage): a name of the roster, or named twice.
  absl::Status AddTokens(const std::vector<TokenRecord>& tokens) const;

  // When the newest certificate of each device ends.
  using Expiries = std::map<std::string, absl::Time>;
  absl::StatusOr<Expiries> ReadExpiries() const;
  absl::Status RecordExpiries(const Expiries& changed) const;

 private:
  EnrollmentKit(Kit kit, CertificateAndKey ca, SigningKey roster_key);
  absl::StatusOr<uint64_t> ReadSequence() const;
  // Signs and writes a version; the kit is locked.
  absl::StatusOr<PublishedRoster> SignRoster(v1::RosterHead head,
                                             Roster roster) const;

  Kit kit_;
  CertificateAndKey ca_;
  SigningKey roster_key_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_ENROLLMENT_KIT_H_
