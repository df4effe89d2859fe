#include "privacy/identity/renewal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "tests/privacy_identity/fleet_kits.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kYear = absl::Hours(24 * 365);

class RenewalTest : public FleetKits {
 protected:
  std::string device() const { return root() + "/devices/d1"; }
  std::string server() const { return root() + "/server"; }
};

TEST_F(RenewalTest, StatusSaysWhoseItIsAlsoWhenExpired) {
  const auto status = ReadKitStatus(device());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->identity.role, PartyRole::kDevice);
  EXPECT_EQ(status->identity.id, "d1");
  EXPECT_EQ(status->not_after, kNow + kDeviceCertificateLife);
  WriteText(device() + "/tls.pem", "nothing");
  EXPECT_EQ(KindOf(ReadKitStatus(device()).status()), ErrorKind::kIdentity);
}

TEST_F(RenewalTest, EveryRoleIsGoodAgainAfterItsEnd) {
  const absl::Time later = kNow + 2 * kYear;
  // The enrolment kit first: a device is looked up in its roster.
  for (const auto& [path, role] :
       {std::pair{enroll(), PartyRole::kEnrollment},
        std::pair{server(), PartyRole::kServer},
        std::pair{root() + "/operator", PartyRole::kOperator},
        std::pair{device(), PartyRole::kDevice}}) {
    ASSERT_FALSE(LoadKit(path, role, later).ok()) << path;
    const std::string before = ReadText(path + "/tls.pem");
    const auto renewed = RenewKit(path, enroll(), kYear, later);
    ASSERT_TRUE(renewed.ok()) << renewed.status();
    EXPECT_EQ(renewed->not_after, later + kYear);
    EXPECT_NE(ReadText(path + "/tls.pem"), before);
    const auto kit = LoadKit(path, role, later);
    EXPECT_TRUE(kit.ok()) << kit.status();
  }
  const auto kit = EnrollmentKit::Load(enroll(), later);
  ASSERT_TRUE(kit.ok()) << kit.status();
  EXPECT_EQ(kit->ReadExpiries()->at("d1"), later + kYear);
}

TEST_F(RenewalTest, ADamagedCertificateIsReplaced) {
  WriteText(server() + "/tls.pem", "nothing");
  ASSERT_FALSE(LoadKit(server(), PartyRole::kServer, kNow).ok());
  const auto renewed = RenewKit(server(), enroll(), kYear, kNow);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_TRUE(LoadKit(server(), PartyRole::kServer, kNow).ok());
}

TEST_F(RenewalTest, ARevokedOrUnknownDeviceStaysOut) {
  const std::string before = ReadText(device() + "/tls.pem");
  SetStatus(OpenEnroll(), v1::RosterEntry::REVOKED);
  const auto revoked = RenewKit(device(), enroll(), kYear, kNow);
  EXPECT_TRUE(absl::IsPermissionDenied(revoked.status())) << revoked.status();
  EXPECT_THAT(std::string(revoked.status().message()), HasSubstr("revoked"));
  ASSERT_TRUE(OpenEnroll()
                  .ChangeRoster(kNow,
                                [](auto& entries) {
                                  entries.clear();
                                  return absl::OkStatus();
                                })
                  .ok());
  const auto unknown = RenewKit(device(), enroll(), kYear, kNow);
  EXPECT_TRUE(absl::IsNotFound(unknown.status())) << unknown.status();
  EXPECT_EQ(KindOf(unknown.status()), ErrorKind::kIdentity);
  EXPECT_EQ(ReadText(device() + "/tls.pem"), before);
}

TEST_F(RenewalTest, AnotherFleetsAuthorityIsRefused) {
  ProvisionOptions options;
  options.directory = root() + "-other";
  options.device_ids = {"d1"};
  options.now = kNow;
  ASSERT_TRUE(Provision(options).ok());
  const std::string before = ReadText(server() + "/tls.pem");
  const auto other =
      RenewKit(server(), options.directory + "/enroll", kYear, kNow);
  EXPECT_TRUE(absl::IsPermissionDenied(other.status())) << other.status();
  EXPECT_THAT(std::string(other.status().message()),
              HasSubstr("different CAs"));
  // One whose CA key is not that of its certificate.
  WriteText(enroll() + "/ca.key.pem",
            ReadText(options.directory + "/enroll/ca.key.pem"));
  EXPECT_EQ(KindOf(RenewKit(server(), enroll(), kYear, kNow).status()),
            ErrorKind::kIdentity);
  EXPECT_EQ(ReadText(server() + "/tls.pem"), before);
}

TEST_F(RenewalTest, NoCertificateOutlivesTheAuthority) {
  for (const absl::Duration life :
       {absl::ZeroDuration(), absl::Hours(24 * 3651)}) {
    const auto renewed = RenewKit(server(), enroll(), life, kNow);
    EXPECT_TRUE(absl::IsInvalidArgument(renewed.status()));
    EXPECT_EQ(KindOf(renewed.status()), ErrorKind::kUsage);
  }
  EXPECT_TRUE(RenewKit(server(), enroll(), absl::Hours(24 * 3650), kNow).ok());
}

}  // namespace
}  // namespace edgetune
