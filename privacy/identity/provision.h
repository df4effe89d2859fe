#ifndef EDGETUNE_PRIVACY_IDENTITY_PROVISION_H_
#define EDGETUNE_PRIVACY_IDENTITY_PROVISION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/invitation.h"

namespace edgetune {

struct ProvisionOptions {
  std::string directory;  // made; must not hold kits already
  std::string server_address = "localhost:7443";
  std::string enroll_address;  // "": the server's host, port 7444
  // Devices whose keys are made here, and devices that make their own from an
  // invitation.
  std::vector<std::string> device_ids;
  std::vector<std::string> invited_ids;
  absl::Time now;
  absl::Duration server_life = kServerCertificateLife;
  absl::Duration device_life = kDeviceCertificateLife;
  absl::Duration token_life = kTokenLife;
};

// Writes <directory>/{enroll,server,operator,devices/<id>,invitations/<id>}/
// with mode 0600 files in 0700 directories; the whole directory appears or none
// of it. enroll/ is the enrolment kit: CA and roster keys, token hashes, and
// version 1 of the roster, which names the devices whose keys were made here.
// AlreadyExists, InvalidArgument (kUsage).
absl::Status Provision(const ProvisionOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_PROVISION_H_
