#ifndef EDGETUNE_CLIENT_GRPC_ENROLLMENT_CLIENT_H_
#define EDGETUNE_CLIENT_GRPC_ENROLLMENT_CLIENT_H_

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "privacy/identity/invitation.h"
#include "privacy/identity/kit.h"

namespace edgetune {

// Makes a device kit at `directory` from an invitation: keys made here, the
// token traded for a certificate. After a failure the same call tries again
// with the same keys. `address` empty: the invitation's. Errors as
// enrollment.proto says; kConnection, kIdentity, kUsage.
absl::Status EnrollDevice(const Invitation& invitation,
                          const std::string& directory,
                          const std::string& address);

// Gets a new key and certificate for a kit on disk and puts them there and into
// `kit`. `address` empty: the kit's. FailedPrecondition (kConfig): no address
// is known.
absl::Status RenewKit(const std::string& address, absl::Time now, Kit* kit);

// When a certificate should be renewed: two thirds of its life after it began.
absl::StatusOr<absl::Time> RenewalTime(const Kit& kit);

// A thread that renews a kit on disk when it is time, and tries again hourly
// after a failure, which it logs. Who uses the kit reads its certificate again
// for each new connection. Life: from construction to destruction, which waits
// for a call under way (at most half a minute).
class KitRenewal {
 public:
  KitRenewal(Kit kit, std::string address, const Clock* clock);
  ~KitRenewal();
  KitRenewal(const KitRenewal&) = delete;
  KitRenewal& operator=(const KitRenewal&) = delete;

 private:
  void Serve();

  Kit kit_;
  const std::string address_;
  const Clock* const clock_;
  std::mutex mu_;
  std::condition_variable changed_;
  bool stopped_ = false;  // guarded by mu_
  std::thread thread_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_ENROLLMENT_CLIENT_H_
