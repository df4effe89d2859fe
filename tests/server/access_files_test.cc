// The files that say who may take part, as the coordinator reads them (A18).

#include "server/access_files.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <string>

#include "base/atomic_file.h"
#include "base/status.h"
#include "privacy/identity/provision.h"
#include "tests/server/test_server.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// A coordinator with four devices, d1 to d4, all of the roster.
class AccessFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ProvisionOptions options;
    options.directory = scratch_.File("kits");
    options.device_ids = {"d1", "d2", "d3", "d4"};
    options.now = Now();
    ASSERT_TRUE(Provision(options).ok());
    kit_ = std::make_unique<EnrollmentKit>(
        EnrollmentKit::Load(scratch_.File("kits/enroll"), Now()).value());
    ASSERT_TRUE(WriteFileAtomically(deny(), "").ok());
    const absl::Status loaded = Load();
    ASSERT_TRUE(loaded.ok()) << loaded;
  }

  AccessFiles::Dependencies Files() {
    return {roster(),
            deny(),
            kit_->kit().trusted,
            &server_.clock(),
            &server_.database(),
            [this](const absl::Status&) { ++fatal_; }};
  }
  // What a started process does.
  absl::Status Load() {
    files_ = std::make_unique<AccessFiles>(Files());
    return files_->Load(server_.coordinator());
  }
  absl::Status Restart() {
    EXPECT_TRUE(server_.Open());
    return Load();
  }

  absl::Time Now() { return server_.clock().Now(); }
  std::string roster() const { return scratch_.File("kits/server/roster.pb"); }
  std::string deny() const { return scratch_.File("deny"); }
  // Signs a version in which `name` has `status`, without publishing it.
  std::string Sign(const std::string& name, v1::RosterEntry::Status status) {
    EXPECT_TRUE(kit_->ChangeRoster(Now(),
                                   [&](auto& entries) {
                                     for (auto& entry : entries) {
                                       if (entry.name() == name)
                                         entry.set_status(status);
                                     }
                                     return absl::OkStatus();
                                   })
                    .ok());
    return ReadFile(scratch_.File("kits/enroll/roster.pb")).value();
  }
  void Publish(const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomically(roster(), bytes).ok());
    files_->Poll(server_.coordinator());
  }
  bool Admits(const std::string& name) {
    const auto connection =
        server_.coordinator().Connect(name, std::make_shared<FakeChannel>());
    if (connection.ok()) server_.coordinator().Disconnect(*connection);
    server_.coordinator().Step();
    return connection.ok();
  }

  TestServer server_;
  testing::ScratchDirectory scratch_;
  std::unique_ptr<EnrollmentKit> kit_;
  std::unique_ptr<AccessFiles> files_;
  int fatal_ = 0;
};

TEST_F(AccessFilesTest, OnlyMembersOfTheRosterGetIn) {
  EXPECT_TRUE(Admits("d1"));
  EXPECT_FALSE(Admits("d5"));
}

TEST_F(AccessFilesTest, A18ADeviceRevokedMidRoundIsDeniedOnItsNextMessage) {
  auto fleet = MakeFleet(&server_);
  for (auto& device : fleet) device->works = false;
  const std::string run = server_.Submit(server_.MakePlan());
  ASSERT_TRUE(RunUntil(server_, fleet,
                       [&] { return fleet[3]->manifest() != nullptr; }));
  v1::UploadKey key;
  *key.mutable_session() = fleet[0]->Key();
  Publish(Sign("d1", v1::RosterEntry::REVOKED));
  v1::ClientMessage message;
  *message.mutable_accepted()->mutable_session() = fleet[0]->Key();
  fleet[0]->Send(message);
  server_.coordinator().Step();
  ASSERT_TRUE(fleet[0]->channel().closed.has_value());
  EXPECT_TRUE(absl::IsPermissionDenied(*fleet[0]->channel().closed));
  EXPECT_TRUE(server_.HasEvent(run, "d1 lost"));
  EXPECT_FALSE(fleet[1]->channel().closed.has_value());
  EXPECT_TRUE(absl::IsPermissionDenied(
      server_.coordinator().AuthorizeUpload("d1", key).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(
      server_.coordinator().AuthorizeDownload("d1", Sha256("x"))));
  EXPECT_FALSE(Admits("d1"));
}

TEST_F(AccessFilesTest, A18AMessageThatWasQueuedBeforeTheRevocationIsDenied) {
  auto fleet = MakeFleet(&server_);
  fleet[0]->Arrive();
  server_.coordinator().Step();
  fleet[0]->Hello();  // waits in the queue
  Publish(Sign("d1", v1::RosterEntry::REVOKED));
  server_.coordinator().Step();
  ASSERT_TRUE(fleet[0]->channel().closed.has_value());
  EXPECT_TRUE(absl::IsPermissionDenied(*fleet[0]->channel().closed));
}

TEST_F(AccessFilesTest, A18ADeviceThatComesTwiceIsConnectedOnce) {
  auto first = std::make_shared<FakeChannel>();
  auto second = std::make_shared<FakeChannel>();
  Coordinator& coordinator = server_.coordinator();
  ASSERT_TRUE(coordinator.Connect("d1", first).ok());
  ASSERT_TRUE(coordinator.Connect("d1", second).ok());
  coordinator.Step();
  ASSERT_TRUE(first->closed.has_value());
  EXPECT_TRUE(absl::IsAborted(*first->closed));
  EXPECT_FALSE(second->closed.has_value());
}

TEST_F(AccessFilesTest, ATornRosterChangesNothing) {
  const std::string next = Sign("d1", v1::RosterEntry::REVOKED);
  for (size_t size = 0; size < next.size(); size += 37) {
    Publish(next.substr(0, size));
    EXPECT_TRUE(Admits("d1")) << size;
  }
  fs::remove(roster());
  files_->Poll(server_.coordinator());
  EXPECT_TRUE(Admits("d1"));
  Publish(next);
  EXPECT_FALSE(Admits("d1"));
}

TEST_F(AccessFilesTest, A14AnOlderRosterDoesNotBringARevokedDeviceBack) {
  const std::string first = ReadFile(roster()).value();
  Publish(Sign("d1", v1::RosterEntry::REVOKED));
  Publish(first);
  EXPECT_FALSE(Admits("d1"));
  files_->Poll(server_.coordinator(), /*force=*/true);
  EXPECT_FALSE(Admits("d1"));
  Publish(Sign("d1", v1::RosterEntry::ACTIVE));
  EXPECT_TRUE(Admits("d1"));
}

TEST_F(AccessFilesTest, A14ARestartedServerRefusesAnOlderRoster) {
  const std::string first = ReadFile(roster()).value();
  const std::string second = Sign("d1", v1::RosterEntry::REVOKED);
  Publish(second);
  ASSERT_TRUE(WriteFileAtomically(roster(), first).ok());
  const absl::Status refused = Restart();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_EQ(KindOf(refused), ErrorKind::kIdentity);
  EXPECT_THAT(std::string(refused.message()),
              ::testing::AllOf(::testing::HasSubstr(roster()),
                               ::testing::HasSubstr("version 1, older than "
                                                    "version 2")));
  EXPECT_FALSE(HintOf(refused).empty());
  EXPECT_EQ(fatal_, 0);
  ASSERT_TRUE(WriteFileAtomically(roster(), second).ok());
  ASSERT_TRUE(Restart().ok());
  EXPECT_FALSE(Admits("d1"));
}

// Signed with the authority's key, which somebody else has too.
TEST_F(AccessFilesTest, A14ARestartedServerRefusesAnotherRosterOfOneVersion) {
  fs::copy(scratch_.File("kits/enroll"), scratch_.File("stolen"),
           fs::copy_options::recursive);
  Publish(Sign("d1", v1::RosterEntry::REVOKED));
  fs::remove_all(scratch_.File("kits/enroll"));
  fs::rename(scratch_.File("stolen"), scratch_.File("kits/enroll"));
  ASSERT_TRUE(
      WriteFileAtomically(roster(), Sign("d2", v1::RosterEntry::REVOKED)).ok());
  const absl::Status refused = Restart();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(KindOf(refused), ErrorKind::kIdentity);
}

// Else a restart could take the device back that is refused now.
TEST_F(AccessFilesTest, ARosterThatCannotBeRememberedIsNotActedUpon) {
  server_.database().fail_at = server_.database().count;
  Publish(Sign("d1", v1::RosterEntry::REVOKED));
  EXPECT_EQ(fatal_, 1);
  EXPECT_TRUE(Admits("d1"));
}

TEST_F(AccessFilesTest, TheDenyListCanOnlyTighten) {
  ASSERT_TRUE(WriteFileAtomically(deny(), "# a comment\n\n d1 \r\nd2\n").ok());
  files_->Poll(server_.coordinator());
  EXPECT_FALSE(Admits("d1"));
  EXPECT_FALSE(Admits("d2"));
  EXPECT_TRUE(Admits("d3"));
  Publish(Sign("d3", v1::RosterEntry::REVOKED));
  ASSERT_TRUE(WriteFileAtomically(deny(), "d2\n").ok());
  files_->Poll(server_.coordinator());
  EXPECT_TRUE(Admits("d1"));
  EXPECT_FALSE(Admits("d2"));
  EXPECT_FALSE(Admits("d3"));
}

TEST_F(AccessFilesTest, ADenyListThatIsGoneStaysInForce) {
  ASSERT_TRUE(WriteFileAtomically(deny(), "d1\n").ok());
  files_->Poll(server_.coordinator());
  fs::remove(deny());
  files_->Poll(server_.coordinator());
  EXPECT_FALSE(Admits("d1"));
}

TEST_F(AccessFilesTest, AServerWithoutAGoodRosterDoesNotStart) {
  const auto load = [&](const std::string& path, const TrustedKeys& keys) {
    AccessFiles::Dependencies files = Files();
    files.roster = path;
    files.deny = "";
    files.trusted = keys;
    return AccessFiles(std::move(files)).Load(server_.coordinator());
  };
  const TrustedKeys& keys = kit_->kit().trusted;
  const absl::Status missing = load(scratch_.File("none"), keys);
  EXPECT_EQ(KindOf(missing), ErrorKind::kIdentity);
  EXPECT_FALSE(HintOf(missing).empty());
  TrustedKeys others = keys;
  others.roster = keys.round;
  EXPECT_TRUE(absl::IsPermissionDenied(load(roster(), others)));
  server_.Pass(kRosterLife);
  EXPECT_TRUE(absl::IsFailedPrecondition(load(roster(), keys)));
}

TEST_F(AccessFilesTest, AServerWithoutItsDenyListDoesNotStart) {
  AccessFiles::Dependencies files = Files();
  files.deny = scratch_.File("no deny list");
  EXPECT_EQ(KindOf(AccessFiles(files).Load(server_.coordinator())),
            ErrorKind::kConfig);
}

TEST_F(AccessFilesTest, AMarkThatIsNotOneStopsTheProcess) {
  ASSERT_TRUE(server_.database()
                  .Run([](Transaction& transaction) {
                    return transaction.Execute(
                        "UPDATE roster_mark SET payload = zeroblob(31)");
                  })
                  .ok());
  EXPECT_TRUE(absl::IsDataLoss(Restart()));
  EXPECT_EQ(fatal_, 1);
}

}  // namespace
}  // namespace edgetune
