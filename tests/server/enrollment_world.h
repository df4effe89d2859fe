#ifndef EDGETUNE_TESTS_SERVER_ENROLLMENT_WORLD_H_
#define EDGETUNE_TESTS_SERVER_ENROLLMENT_WORLD_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/clock.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/provision.h"
#include "server/enrollment.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {

// An applicant: keys of its own, and the requests it would send.
class Applicant {
 public:
  explicit Applicant(const std::string& name)
      : name_(name),
        identity_(SigningKey::Generate().value()),
        tls_(MakeSigningRequest(name).value()) {}

  v1::EnrollRequest Request(const std::string& token) const {
    v1::EnrollRequest request;
    request.set_token(token);
    request.set_csr(tls_.request_der);
    request.set_identity_key(identity_.public_key().raw());
    request.set_proof(identity_
                          .Sign(EnrollProofBytes(token, request.csr(),
                                                 request.identity_key()))
                          .value());
    return request;
  }
  v1::RenewRequest Renewal() const {
    v1::RenewRequest request;
    request.set_csr(tls_.request_der);
    request.set_proof(
        identity_.Sign(RenewProofBytes(name_, request.csr())).value());
    return request;
  }
  const SigningKey& identity() const { return identity_; }
  const SigningRequest& tls() const { return tls_; }

 private:
  std::string name_;
  SigningKey identity_;
  SigningRequest tls_;
};

// An enrolment office over a fresh provisioning (d1; invitations for t1, t2)
// with a real database, on a clock that a test moves.
class EnrollmentWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    ProvisionOptions options;
    options.directory = scratch_.File("kits");
    options.device_ids = {"d1"};
    options.invited_ids = {"t1", "t2"};
    options.now = clock_.Now();
    const absl::Status made = Provision(options);
    ASSERT_TRUE(made.ok()) << made;
    kit_ = std::make_unique<EnrollmentKit>(
        EnrollmentKit::Load(enroll(), clock_.Now()).value());
    ASSERT_TRUE(Open().ok());
  }

  // What a started process does; also after a crash.
  absl::Status Open() {
    office_.reset();
    database_.reset();
    auto database = Database::Open(scratch_.File("enroll.db"),
                                   EnrollmentOffice::Migrations());
    if (!database.ok()) return database.status();
    database_ = *std::move(database);
    auto office = EnrollmentOffice::Open(
        {.kit = kit_.get(),
         .database = database_.get(),
         .clock = &clock_,
         .publish = published(),
         .failures_per_minute = failures_per_minute_,
         .fatal = [](const absl::Status& status) { FAIL() << status; }});
    if (!office.ok()) return office.status();
    office_ = *std::move(office);
    return absl::OkStatus();
  }

  std::string enroll() const { return scratch_.File("kits/enroll"); }
  std::string published() const { return scratch_.File("published.pb"); }
  std::string TokenOf(const std::string& name) {
    return LoadInvitation(scratch_.File("kits/invitations/" + name),
                          clock_.Now())
        .value()
        .token;
  }
  PublishedRoster Published() {
    return ParseRosterFile(ReadFile(published()).value(), kit_->kit().trusted,
                           clock_.Now())
        .value();
  }
  void Revoke(const std::string& name) {
    ASSERT_TRUE(kit_->ChangeRoster(clock_.Now(),
                                   [&](auto& entries) {
                                     for (auto& entry : entries) {
                                       if (entry.name() == name) {
                                         entry.set_status(
                                             v1::RosterEntry::REVOKED);
                                       }
                                     }
                                     return absl::OkStatus();
                                   })
                    .ok());
  }

  testing::ScratchDirectory scratch_;
  VirtualClock clock_{absl::Now()};
  int64_t failures_per_minute_ = 1000;
  std::unique_ptr<EnrollmentKit> kit_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<EnrollmentOffice> office_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_ENROLLMENT_WORLD_H_
