#ifndef EDGETUNE_SERVER_RPC_ENROLLMENT_SERVER_H_
#define EDGETUNE_SERVER_RPC_ENROLLMENT_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/identity/kit.h"
#include "server/enrollment.h"

namespace edgetune {

// The enrolment service's gRPC door: TLS in which the server proves who it is;
// a caller's certificate, if there is one, is verified and needed for Renew
// alone. Life: Start (listening when it returns), Shutdown. Borrowed: the
// office outlives it.
class EnrollmentServer {
 public:
  // `kit` of role "enrollment". kPortInUse, kIdentity.
  static absl::StatusOr<std::unique_ptr<EnrollmentServer>> Start(
      const std::string& listen, const Kit& kit, EnrollmentOffice* office);
  virtual ~EnrollmentServer() = default;

  virtual int port() const = 0;  // bound, also when `listen` asked for 0
  virtual void Shutdown() = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_ENROLLMENT_SERVER_H_
