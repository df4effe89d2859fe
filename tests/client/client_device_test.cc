// A client and its own device: policy, data, disk, and how it ends.

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "client/client.h"
#include "client/status_file.h"
#include "tests/client/client_world.h"
#include "tests/testing/small_disk.h"

namespace edgetune {
namespace {

using ClientDeviceTest = testing::ClientWorld;

TEST_F(ClientDeviceTest, RefusedDeviceEndsWithAnIdentityError) {
  Start();
  transport_->listener()->OnDown(absl::PermissionDeniedError("denied"));
  const absl::Status status = Wait();
  EXPECT_EQ(ExitCodeOf(status), 2) << status;
}

TEST_F(ClientDeviceTest, OnceGivesUpOnACoordinatorThatIsNotThere) {
  Start(/*once=*/true);
  for (int i = 0; i < 8; ++i) {
    transport_->listener()->OnDown(absl::UnavailableError("refused"));
  }
  const absl::Status status = Wait();
  EXPECT_EQ(ExitCodeOf(status), 2) << status;
}

TEST_F(ClientDeviceTest, OnceEndsWithTheSessionsFailure) {
  Start(/*once=*/true);
  Assign(Manifest(0));
  Answer(NextReport().session(), v1::Outcome::LATE);
  EXPECT_TRUE(absl::IsFailedPrecondition(Wait()));
}

TEST_F(ClientDeviceTest, OutsideItsWindowADeviceDoesNotEvenAsk) {
  const absl::CivilMinute now =
      absl::ToCivilMinute(absl::Now(), absl::LocalTimeZone());
  const int minute = now.hour() * 60 + now.minute();
  file_.policy.window =
      DailyWindow{(minute + 600) % 1440, (minute + 660) % 1440};
  Start(/*once=*/true);
  EXPECT_TRUE(Wait().ok());
  const auto status = ReadDeviceStatus(scratch_.path());
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->state, "stopped");
}

TEST_F(ClientDeviceTest, AssignmentOutsideTheWindowIsDeclinedByPolicy) {
  const absl::CivilMinute now =
      absl::ToCivilMinute(absl::Now(), absl::LocalTimeZone());
  const int minute = now.hour() * 60 + now.minute();
  file_.policy.window =
      DailyWindow{(minute + 600) % 1440, (minute + 660) % 1440};
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextDeclined().reason(), v1::Declined::POLICY);
}

TEST_F(ClientDeviceTest, BadDataEndsTheClientOnceTheCoordinatorKnows) {
  std::ofstream(file_.data.train, std::ios::app) << "{\n";
  Start();
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  EXPECT_EQ(declined.detail(), "the device's data cannot be used");
  Answer(declined.session(), v1::Outcome::CANCELLED);
  const absl::Status status = Wait();
  EXPECT_EQ(ExitCodeOf(status), 4) << status;
  EXPECT_NE(status.message().find("animal.jsonl:9"), std::string::npos);
}

TEST_F(ClientDeviceTest, LastWordThatIsNotAnsweredDoesNotKeepTheClient) {
  std::ofstream(file_.data.train, std::ios::app) << "{\n";
  Start();
  Assign(Manifest(0));
  NextDeclined();
  transport_->listener()->OnDown(absl::UnavailableError("cut"));
  EXPECT_EQ(ExitCodeOf(Wait()), 4);
}

TEST_F(ClientDeviceTest, FullServerDoesNotEndTheDevice) {
  Start();
  NextHello();
  transport_->upload_refusal = absl::ResourceExhaustedError("no room");
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  Answer(declined.session(), v1::Outcome::CANCELLED);
  EXPECT_FALSE(NextHello().has_resume());
  transport_->upload_refusal = absl::OkStatus();
  Assign(Manifest(1));
  EXPECT_EQ(NextReport().session().round(), 1u);
}

TEST_F(ClientDeviceTest, ItsOwnFullDiskEndsTheDevice) {
  Start();
  NextHello();
  // Too little for the base, enough for the session's row.
  const testing::SmallDisk disk(run_.plan.model().parts(0).size() - 1);
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  Answer(declined.session(), v1::Outcome::CANCELLED);
  const absl::Status status = Wait();
  EXPECT_EQ(KindOf(status), ErrorKind::kDiskFull) << status;
  EXPECT_EQ(ExitCodeOf(status), 1);
}

TEST_F(ClientDeviceTest, DamagedBaseIsFetchedAgain) {
  Start();
  Assign(Manifest(0));
  Answer(NextReport().session(), v1::Outcome::ACCEPTED);
  NextHello();
  const v1::FilePart& base = run_.plan.model().parts(0);
  const std::string path = *cache_->PathOf(*DigestFromBytes(base.sha256()));
  ASSERT_TRUE(Stop().ok());
  std::string bytes = *ReadFile(path);
  bytes[bytes.size() / 2] ^= 1;
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  std::ofstream(path, std::ios::binary) << bytes;
  Start();
  Assign(Manifest(1));
  EXPECT_EQ(NextReport().base_bytes_down(), base.size());
  EXPECT_EQ(Sha256Bytes(*ReadFile(path)), base.sha256());
}

TEST_F(ClientDeviceTest, MissingDataFileIsToldBeforeAnythingElse) {
  file_.data.train = scratch_.File("nowhere.jsonl");
  const auto client = Client::Make({.transport = nullptr,
                                    .database = nullptr,
                                    .cache = nullptr,
                                    .clock = &clock_,
                                    .engine = {},
                                    .trusted = keys_.trusted},
                                   {.file = file_});
  EXPECT_EQ(ExitCodeOf(client.status()), 4);
  EXPECT_NE(client.status().message().find("nowhere.jsonl"), std::string::npos);
}

TEST_F(ClientDeviceTest, StatusNamesTheSessionAndHowTheLastOneEnded) {
  Start();
  NextHello();
  Assign(Manifest(0));
  Answer(NextReport().session(), v1::Outcome::ACCEPTED);
  NextHello();
  ASSERT_TRUE(Stop().ok());
  const auto status = ReadDeviceStatus(scratch_.path());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->last_ending, "accepted");
  EXPECT_EQ(status->last_round, 0u);
  EXPECT_EQ(status->run_id, "");
}

}  // namespace
}  // namespace edgetune
