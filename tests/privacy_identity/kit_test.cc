#include "privacy/identity/kit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "base/status.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/provision.h"
#include "tests/privacy_identity/fleet_kits.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1800000000);

class KitTest : public ::testing::Test {
 protected:
  ProvisionOptions Options(const std::string& name = "kits") const {
    ProvisionOptions options;
    options.directory = root_ / name;
    options.server_address = "coordinator.example.org:7443";
    options.device_ids = {"d1", "d2"};
    options.invited_ids = {"later"};
    options.now = kNow;
    return options;
  }
  std::string Device(const std::string& name = "kits") const {
    return root_ / name / "devices" / "d1";
  }
  void ExpectUnusable(const std::string& message, absl::Time now = kNow) const {
    const auto kit = LoadKit(Device(), PartyRole::kDevice, now);
    ASSERT_FALSE(kit.ok());
    EXPECT_EQ(KindOf(kit.status()), ErrorKind::kIdentity) << kit.status();
    EXPECT_THAT(std::string(kit.status().message()), HasSubstr(message));
    EXPECT_FALSE(HintOf(kit.status()).empty());
  }
  // Changes kit.json of d1.
  void Replace(const std::string& what, const std::string& with) const {
    std::string text = ReadText(Device() + "/kit.json");
    const size_t at = text.find(what);
    ASSERT_NE(at, std::string::npos);
    WriteText(Device() + "/kit.json", text.replace(at, what.size(), with));
  }

  const testing::ScratchDirectory scratch_;
  const fs::path root_ = scratch_.path();
};

TEST_F(KitTest, EveryPartyGetsAKitThatLoads) {
  ASSERT_TRUE(Provision(Options()).ok());
  const auto server = LoadKit(root_ / "kits/server", PartyRole::kServer, kNow);
  const auto op = LoadKit(root_ / "kits/operator", PartyRole::kOperator, kNow);
  const auto device = LoadKit(Device(), PartyRole::kDevice, kNow);
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_TRUE(op.ok()) << op.status();
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(IdentityUri(server->identity), "edgetune://server/server");
  EXPECT_EQ(IdentityUri(op->identity), "edgetune://operator/operator");
  EXPECT_EQ(IdentityUri(device->identity), "edgetune://device/d1");
  EXPECT_EQ(device->server_address, "coordinator.example.org:7443");
  EXPECT_EQ(server->ca_pem, device->ca_pem);
}

TEST_F(KitTest, FactsNeedTheDescriptionAlone) {
  ASSERT_TRUE(Provision(Options()).ok());
  const auto whole = LoadKit(Device(), PartyRole::kDevice, kNow).value();
  const std::string bare = root_ / "bare";
  fs::create_directory(bare);
  fs::copy(Device() + "/kit.json", bare);
  const auto facts = ReadKitFacts(bare);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(IdentityUri(facts->identity), "edgetune://device/d1");
  EXPECT_EQ(facts->trusted.round.at(0).raw(), whole.trusted.round.at(0).raw());
  EXPECT_EQ(facts->trusted.roster.at(0).raw(),
            whole.trusted.roster.at(0).raw());
  WriteText(bare + "/kit.json", "{");
  EXPECT_EQ(KindOf(ReadKitFacts(bare).status()), ErrorKind::kIdentity);
  EXPECT_EQ(KindOf(ReadKitFacts(root_ / "none").status()),
            ErrorKind::kIdentity);
}

TEST_F(KitTest, OnlyTheServerHoldsTheRoundKeyAndTheOperatorTheReleaseKey) {
  ASSERT_TRUE(Provision(Options()).ok());
  const auto server = LoadKit(root_ / "kits/server", PartyRole::kServer, kNow);
  const auto op = LoadKit(root_ / "kits/operator", PartyRole::kOperator, kNow);
  const auto device = LoadKit(Device(), PartyRole::kDevice, kNow);
  ASSERT_TRUE(server.ok() && op.ok() && device.ok());
  ASSERT_TRUE(server->round_key_pem.has_value());
  EXPECT_FALSE(server->release_key_path.has_value());
  ASSERT_TRUE(op->release_key_path.has_value());
  EXPECT_FALSE(op->round_key_pem.has_value());
  EXPECT_FALSE(device->round_key_pem || device->release_key_path);
  EXPECT_FALSE(fs::exists(Device() + "/release.key.pem"));
  EXPECT_FALSE(fs::exists(Device() + "/round.key.pem"));
  const auto round = SigningKey::FromPem(*server->round_key_pem);
  const auto release = SigningKey::FromPem(ReadText(*op->release_key_path));
  ASSERT_TRUE(round.ok() && release.ok());
  EXPECT_EQ(device->trusted.round.at(0).raw(), round->public_key().raw());
  EXPECT_EQ(device->trusted.release.at(0).raw(), release->public_key().raw());
}

TEST_F(KitTest, FilesAndDirectoriesArePrivate) {
  ASSERT_TRUE(Provision(Options()).ok());
  struct stat info;
  int files = 0;
  ASSERT_EQ(stat((root_ / "kits").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const auto& entry : fs::recursive_directory_iterator(root_ / "kits")) {
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, entry.is_directory() ? 0700u : 0600u)
        << entry.path();
    files += entry.is_directory() ? 0 : 1;
  }
  // enroll 10, server 5, operator 4, two devices 4 each, an invitation 2.
  EXPECT_EQ(files, 29);
}

TEST_F(KitTest, AReleaseKeyKeptElsewhereIsNoError) {
  ASSERT_TRUE(Provision(Options()).ok());
  fs::remove(root_ / "kits/operator/release.key.pem");
  const auto op = LoadKit(root_ / "kits/operator", PartyRole::kOperator, kNow);
  ASSERT_TRUE(op.ok()) << op.status();
  EXPECT_FALSE(op->release_key_path.has_value());
}

TEST_F(KitTest, LivesAreAsAskedAndBeginEarlierForSlowClocks) {
  ProvisionOptions options = Options();
  options.device_life = absl::Hours(2);
  options.server_life = absl::Hours(3);
  ASSERT_TRUE(Provision(options).ok());
  const auto device = ReadCertificate(ReadText(Device() + "/tls.pem"));
  const auto server = ReadCertificate(ReadText(root_ / "kits/server/tls.pem"));
  ASSERT_TRUE(device.ok() && server.ok());
  EXPECT_EQ(device->not_before, kNow - absl::Minutes(5));
  EXPECT_EQ(device->not_after, kNow + absl::Hours(2));
  EXPECT_EQ(server->not_after, kNow + absl::Hours(3));
  EXPECT_TRUE(
      LoadKit(Device(), PartyRole::kDevice, kNow - absl::Minutes(4)).ok());
}

TEST_F(KitTest, KitsAreNeverOverwritten) {
  ASSERT_TRUE(Provision(Options()).ok());
  const std::string before = ReadText(root_ / "kits/enroll/ca.pem");
  const absl::Status again = Provision(Options());
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists) << again;
  EXPECT_EQ(ReadText(root_ / "kits/enroll/ca.pem"), before);
  // Nothing is left beside it either.
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), {}), 1);
}

TEST_F(KitTest, AnEmptyDirectoryIsFilled) {
  fs::create_directory(root_ / "kits");
  EXPECT_TRUE(Provision(Options()).ok());
  ProvisionOptions deep = Options("a/b/c/");
  EXPECT_TRUE(Provision(deep).ok());
  EXPECT_TRUE(LoadKit(Device("a/b/c"), PartyRole::kDevice, kNow).ok());
}

TEST_F(KitTest, ImpossibleOptionsLeaveNothing) {
  std::vector<ProvisionOptions> bad(12, Options());
  bad[0].device_ids = {"d1", "d1"};
  bad[1].device_ids = {"../up"};
  bad[2].device_ids = {".."};
  bad[3].device_ids = {std::string(65, 'a')};
  bad[4].device_ids = {"Upper"};
  bad[5].server_address = "no-port";
  bad[6].server_address = "bad host:7443";
  bad[7].device_life = absl::ZeroDuration();
  bad[8].invited_ids = {"d1"};
  bad[9].invited_ids = {"Upper"};
  bad[10].enroll_address = "no-port";
  bad[11].token_life = absl::Hours(24 * 5000);
  for (const ProvisionOptions& options : bad) {
    const absl::Status status = Provision(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(ExitCodeOf(status), 4);
  }
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(KitTest, AddressesOfEveryFormMakeKits) {
  int i = 0;
  for (const char* address :
       {"localhost:7443", "10.0.0.7:1", "[::1]:65535", "[2001:db8::7]:7443"}) {
    ProvisionOptions options = Options("kits" + std::to_string(i++));
    options.server_address = address;
    const absl::Status status = Provision(options);
    EXPECT_TRUE(status.ok()) << address << " " << status;
  }
}

TEST_F(KitTest, AMissingFileIsNamed) {
  ExpectUnusable("kit.json");
  ASSERT_TRUE(Provision(Options()).ok());
  for (const char* name :
       {"kit.json", "ca.pem", "tls.pem", "identity.key.pem"}) {
    const fs::path path = fs::path(Device()) / name;
    fs::rename(path, root_ / "aside");
    ExpectUnusable(name);
    fs::rename(root_ / "aside", path);
  }
}

TEST_F(KitTest, AKitOfAnotherRoleIsRefusedByName) {
  ASSERT_TRUE(Provision(Options()).ok());
  const auto kit = LoadKit(Device(), PartyRole::kOperator, kNow);
  ASSERT_FALSE(kit.ok());
  EXPECT_THAT(std::string(kit.status().message()),
              HasSubstr("this is a device kit, wanted an operator kit"));
  EXPECT_EQ(ExitCodeOf(kit.status()), 2);
}

TEST_F(KitTest, AKitOutOfDateSaysSinceWhen) {
  ASSERT_TRUE(Provision(Options()).ok());
  const absl::Time later = kNow + absl::Hours(24 * 30);
  ExpectUnusable("tls.pem expired at 2027-02-14 08:00 UTC", later);
  EXPECT_THAT(HintOf(LoadKit(Device(), PartyRole::kDevice, later).status()),
              HasSubstr("edgetune kit renew"));
  ExpectUnusable("ca.pem is not valid before", kNow - absl::Minutes(6));
}

TEST_F(KitTest, FilesOfAnotherProvisioningAreNoticed) {
  ASSERT_TRUE(Provision(Options()).ok());
  ASSERT_TRUE(Provision(Options("other")).ok());
  const auto swap_in = [&](const char* name) {
    fs::copy_file(Device("other") + "/" + name, Device() + "/" + name,
                  fs::copy_options::overwrite_existing);
  };
  swap_in("tls.pem");
  ExpectUnusable("is not signed by");
  swap_in("ca.pem");
  EXPECT_TRUE(LoadKit(Device(), PartyRole::kDevice, kNow).ok());
}

TEST_F(KitTest, AKeyOfAnotherCertificateIsNoticed) {
  ASSERT_TRUE(Provision(Options()).ok());
  const std::string mine = ReadText(Device() + "/tls.pem");
  const std::string other = ReadText(root_ / "kits/devices/d2/tls.pem");
  const size_t at = mine.find("-----BEGIN CERTIFICATE-----");
  const size_t other_at = other.find("-----BEGIN CERTIFICATE-----");
  ASSERT_NE(at, std::string::npos);
  WriteText(Device() + "/tls.pem", other.substr(0, other_at) + mine.substr(at));
  ExpectUnusable("the private key does not belong to the certificate of 'd1'");
  for (const std::string& half : {mine.substr(at), mine.substr(0, at)}) {
    WriteText(Device() + "/tls.pem", half);
    ExpectUnusable("wanted a private key, then a certificate");
  }
}

TEST_F(KitTest, AnIdentityKeyThatIsNoneIsNoticed) {
  ASSERT_TRUE(Provision(Options()).ok());
  WriteText(Device() + "/identity.key.pem", ReadText(Device() + "/tls.pem"));
  ExpectUnusable("identity.key.pem");
}

TEST_F(KitTest, AKitOfAnOlderVersionSaysWhatToDo) {
  ASSERT_TRUE(Provision(Options()).ok());
  Replace("\"schema_version\": 2", "\"schema_version\": 1");
  ExpectUnusable("is of version 1, this program reads version 2");
  EXPECT_THAT(HintOf(LoadKit(Device(), PartyRole::kDevice, kNow).status()),
              HasSubstr("provision again"));
  Replace("\"schema_version\": 1", "\"schema_version\": 3");
  EXPECT_THAT(HintOf(LoadKit(Device(), PartyRole::kDevice, kNow).status()),
              HasSubstr("update this program"));
}

TEST_F(KitTest, ACertificateIsReplacedByOneThatFitsAndNoOther) {
  ASSERT_TRUE(Provision(Options()).ok());
  auto kit = LoadKit(Device(), PartyRole::kDevice, kNow);
  const auto enroll = EnrollmentKit::Load(root_ / "kits/enroll", kNow);
  ASSERT_TRUE(kit.ok() && enroll.ok());
  const auto request = MakeSigningRequest("d1");
  const auto fits = enroll->Certify("d1", request->request_der, kNow);
  const auto of_d2 = enroll->Certify("d2", request->request_der, kNow);
  ASSERT_TRUE(fits.ok() && of_d2.ok());
  const std::string before = ReadText(Device() + "/tls.pem");
  EXPECT_FALSE(ReplaceCertificate(request->key_pem, *of_d2, kNow, &*kit).ok());
  EXPECT_FALSE(ReplaceCertificate(kit->key_pem, *fits, kNow, &*kit).ok());
  EXPECT_FALSE(ReplaceCertificate(request->key_pem, *fits,
                                  kNow + absl::Hours(24 * 31), &*kit)
                   .ok());
  EXPECT_EQ(ReadText(Device() + "/tls.pem"), before);
  ASSERT_TRUE(ReplaceCertificate(request->key_pem, *fits, kNow, &*kit).ok());
  const auto again = LoadKit(Device(), PartyRole::kDevice, kNow);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->certificate_pem, *fits);
  EXPECT_EQ(again->key_pem, kit->key_pem);
}

TEST_F(KitTest, ARoundKeyThatNobodyPinnedIsNoticed) {
  ASSERT_TRUE(Provision(Options()).ok());
  ASSERT_TRUE(Provision(Options("other")).ok());
  fs::copy_file(root_ / "other/server/round.key.pem",
                root_ / "kits/server/round.key.pem",
                fs::copy_options::overwrite_existing);
  const auto kit = LoadKit(root_ / "kits/server", PartyRole::kServer, kNow);
  EXPECT_EQ(kit.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(kit.status().message()),
              HasSubstr("none of the round keys"));
}

TEST_F(KitTest, ADescriptionThatContradictsTheCertificateIsRefused) {
  ASSERT_TRUE(Provision(Options()).ok());
  Replace("\"d1\"", "\"d2\"");
  ExpectUnusable(
      "is of edgetune://device/d1, kit.json of "
      "edgetune://device/d2");
}

TEST_F(KitTest, DamagedDescriptionsAreRefused) {
  const std::pair<const char*, const char*> changes[] = {
      {"{", "["},
      {"\"schema_version\": 2", "\"schema_version\": \"2\""},
      {"\"schema_version\": 2", "\"schema_version\": 1e99"},
      {"\"schema_version\": 2", "\"schema_version\": -2"},
      {"\"enroll\": \"", "\"enroll\": \"/"},
      {"\"device\"", "\"emperor\""},
      {"\"d1\"", "\"../d1\""},
      {"\"d1\"", "7"},
      {":7443", ""},
      {"\"release_keys\"", "\"keys\""},
      {"=\"", "=!\""},
      {"\"round_keys\": [", "\"round_keys\": [\"AAAA\","},
      {"\"round_keys\": [", "\"round_keys\": [], \"x\": ["},
      {"\"roster_keys\"", "\"keys\""},
  };
  ASSERT_TRUE(Provision(Options()).ok());
  const std::string good = ReadText(Device() + "/kit.json");
  for (const auto& [what, with] : changes) {
    WriteText(Device() + "/kit.json", good);
    Replace(what, with);
    ExpectUnusable("kit.json");
  }
}

TEST(IdentityTest, ComesFromExactlyOneUri) {
  const auto identity = IdentityFromUris(
      {"https://example.org", "edgetune://operator/anna.b-2_c"});
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->role, PartyRole::kOperator);
  EXPECT_EQ(identity->id, "anna.b-2_c");
  EXPECT_EQ(IdentityUri(*identity), "edgetune://operator/anna.b-2_c");
}

TEST(IdentityTest, AnythingElseIsDenied) {
  const std::vector<std::string> cases[] = {
      {},
      {"https://example.org"},
      {"edgetune://device/a", "edgetune://operator/a"},
      {"edgetune://device/a", "edgetune://device/a"},
      {"edgetune://device"},
      {"edgetune://device/"},
      {"edgetune:///a"},
      {"edgetune://root/a"},
      {"edgetune://device/A"},
      {"edgetune://device/a/b"},
      {std::string("edgetune://device/a\0", 20)},
      {"edgetune://device/" + std::string(65, 'a')},
  };
  for (const auto& uris : cases) {
    const auto identity = IdentityFromUris(uris);
    EXPECT_EQ(identity.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(KindOf(identity.status()), ErrorKind::kIdentity);
  }
}

}  // namespace
}  // namespace edgetune
