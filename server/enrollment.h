#ifndef EDGETUNE_SERVER_ENROLLMENT_H_
#define EDGETUNE_SERVER_ENROLLMENT_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "privacy/identity/enrollment_kit.h"
#include "protos/edgetune/v1/enrollment.pb.h"
#include "server/failure_limiter.h"
#include "server/file_watch.h"
#include "storage/database.h"

namespace edgetune {

// Decides who enrols, whatever transport asks: one token, one device. A token
// is consumed, and its device remembered, in one transaction; the roster
// follows, then the answer. A process killed in between finishes at its next
// start, and the device that asks again gets the same certificate.
//
// Life: Open (finishes what a crash left, publishes), then calls, and Tick
// about once a second. Thread-safe. Borrowed dependencies outlive it. Errors:
// PermissionDenied, InvalidArgument, ResourceExhausted, AlreadyExists as
// enrollment.proto says; Unavailable when a decision is durable but the roster
// could not be written: ask again.
class EnrollmentOffice {
 public:
  struct Dependencies {
    const EnrollmentKit* kit;
    Database* database;
    const Clock* clock;
    std::string publish;  // each roster is copied there; "": nowhere
    int64_t failures_per_minute = 10;
    // Called after a failed commit; the process exits.
    std::function<void(const absl::Status&)> fatal;
  };

  // Tables, for Database::Open.
  static const std::vector<std::string>& Migrations();
  static absl::StatusOr<std::unique_ptr<EnrollmentOffice>> Open(
      Dependencies dependencies);

  // `caller`: where from, without the port.
  absl::StatusOr<v1::EnrollResponse> Enroll(const v1::EnrollRequest& request,
                                            const std::string& caller);
  // `device`: name in the verified certificate.
  absl::StatusOr<v1::EnrollResponse> Renew(const std::string& device,
                                           const v1::RenewRequest& request);

  // Takes in new tokens, signs an ageing roster again, publishes what changed.
  // An error is worth a log line; the next Tick tries again.
  absl::Status Tick();

 private:
  struct Candidate;  // a request that may be granted

  explicit EnrollmentOffice(Dependencies dependencies);
  absl::StatusOr<std::string> Decide(const v1::EnrollRequest& request);
  absl::StatusOr<Candidate> Examine(const v1::EnrollRequest& request);
  absl::StatusOr<Row> FindToken(const std::string& hash);
  absl::Status CheckNotInRoster(const Candidate& candidate) const;
  absl::Status Write(const std::function<absl::Status(Transaction&)>& body);
  absl::Status Consume(const Candidate& candidate);
  absl::StatusOr<std::vector<Row>> Unsettled();
  absl::Status Settle();
  absl::Status TakeInTokens();
  absl::Status RefreshRoster();
  absl::Status PublishRoster();

  const Dependencies deps_;
  FailureLimiter limiter_;
  std::mutex settle_mu_;  // one roster change at a time
  std::mutex tick_mu_;    // guards all below
  FileWatch tokens_;
  FileWatch roster_;
  absl::Time refresh_at_ = absl::InfinitePast();
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_ENROLLMENT_H_
