#ifndef EDGETUNE_TESTS_PRIVACY_IDENTITY_FLEET_KITS_H_
#define EDGETUNE_TESTS_PRIVACY_IDENTITY_FLEET_KITS_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/provision.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {

inline std::string ReadText(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline void WriteText(const std::filesystem::path& path,
                      const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A provisioning with devices d1, d2 and an invitation for "later".
class FleetKits : public ::testing::Test {
 protected:
  void SetUp() override {
    ProvisionOptions options;
    options.directory = root();
    options.device_ids = {"d1", "d2"};
    options.invited_ids = {"later"};
    options.now = kNow;
    const absl::Status status = Provision(options);
    ASSERT_TRUE(status.ok()) << status;
  }

  std::string root() const { return scratch_.path() + "/kits"; }
  std::string enroll() const { return root() + "/enroll"; }
  EnrollmentKit OpenEnroll() const {
    return EnrollmentKit::Load(enroll(), kNow).value();
  }
  // Publishes a version in which d1 is as `status` says.
  static PublishedRoster SetStatus(const EnrollmentKit& kit,
                                   v1::RosterEntry::Status status) {
    return kit
        .ChangeRoster(kNow,
                      [status](auto& entries) {
                        for (auto& entry : entries) {
                          if (entry.name() == "d1") entry.set_status(status);
                        }
                        return absl::OkStatus();
                      })
        .value();
  }

  static inline const absl::Time kNow = absl::FromUnixSeconds(1800000000);

 private:
  testing::ScratchDirectory scratch_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_PRIVACY_IDENTITY_FLEET_KITS_H_
