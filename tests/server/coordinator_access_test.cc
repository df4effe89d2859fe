// Who may do what (A18): denied devices, foreign blobs, malformed messages.

#include <gmock/gmock.h>

#include "tests/server/test_server.h"

namespace edgetune {
namespace {

class CoordinatorAccessTest : public ::testing::Test {
 protected:
  // All four devices hold an assignment and are silent.
  void SetUp() override {
    fleet_ = MakeFleet(&server_);
    for (auto& device : fleet_) device->works = false;
    run_ = server_.Submit(server_.MakePlan());
    ASSERT_TRUE(
        RunUntil(server_, fleet_, [&] { return fleet_[3]->manifest(); }));
  }
  Coordinator& coordinator() { return server_.coordinator(); }

  TestServer server_;
  std::vector<std::unique_ptr<FakeDevice>> fleet_;
  std::string run_;
};

TEST_F(CoordinatorAccessTest, ADeniedDeviceIsClosedLostAndRefused) {
  v1::UploadKey key;
  *key.mutable_session() = fleet_[0]->Key();
  coordinator().SetDenied({"d1"});
  coordinator().Step();
  ASSERT_TRUE(fleet_[0]->channel().closed.has_value());
  EXPECT_TRUE(absl::IsPermissionDenied(*fleet_[0]->channel().closed));
  EXPECT_TRUE(server_.HasEvent(run_, "d1 lost"));
  EXPECT_TRUE(absl::IsPermissionDenied(
      coordinator().AuthorizeDownload("d1", Sha256("x"))));
  EXPECT_TRUE(absl::IsPermissionDenied(
      coordinator().AuthorizeUpload("d1", key).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(
      coordinator().Connect("d1", std::make_shared<FakeChannel>()).status()));
}

TEST_F(CoordinatorAccessTest, OnlyBlobsOfTheAssignmentMayBeFetched) {
  EXPECT_TRUE(coordinator()
                  .AuthorizeDownload("d1", Sha256(std::string(1000, 'b')))
                  .ok());
  const Digest foreign = server_.PutBlob("of somebody else");
  EXPECT_TRUE(absl::IsNotFound(coordinator().AuthorizeDownload("d1", foreign)));
  EXPECT_TRUE(absl::IsNotFound(
      coordinator().AuthorizeDownload("d9", Sha256(std::string(1000, 'b')))));
}

TEST_F(CoordinatorAccessTest, A18UploadsOfOtherSessionsAreLate) {
  v1::UploadKey key;
  *key.mutable_session() = fleet_[0]->Key();
  key.set_sha256(std::string(32, 's'));
  key.set_size(kTestCoordinates * 4);
  EXPECT_TRUE(coordinator().AuthorizeUpload("d1", key).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      coordinator().AuthorizeUpload("d9", key).status()));
  key.mutable_session()->set_attempt(1);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      coordinator().AuthorizeUpload("d1", key).status()));
}

TEST_F(CoordinatorAccessTest, A17AnUploadIsNamedByAWholeDigest) {
  v1::UploadKey key;
  *key.mutable_session() = fleet_[0]->Key();
  key.set_size(kTestCoordinates * 4);
  for (const size_t size : {0, 31, 33}) {
    key.set_sha256(std::string(size, 's'));
    EXPECT_TRUE(absl::IsInvalidArgument(
        coordinator().AuthorizeUpload("d1", key).status()));
  }
}

TEST_F(CoordinatorAccessTest, AnotherUpdateOfTheSameSessionStartsFromNothing) {
  v1::UploadKey key;
  *key.mutable_session() = fleet_[0]->Key();
  key.set_sha256(std::string(32, 's'));
  key.set_size(kTestCoordinates * 4);
  const std::string name = *coordinator().AuthorizeUpload("d1", key);
  const std::vector<uint8_t> some(8, 1);
  ASSERT_TRUE(server_.blobs().AppendPartial(name, 0, some, key.size()).ok());
  key.set_sha256(std::string(32, 't'));
  EXPECT_EQ(*coordinator().AuthorizeUpload("d1", key), name);
  EXPECT_EQ(*server_.blobs().PartialSize(name), 0u);
}

TEST_F(CoordinatorAccessTest, AMalformedMessageEndsTheStreamAndNotTheRound) {
  v1::ClientMessage message;
  message.mutable_report()->mutable_session()->set_run_id("short");
  fleet_[0]->Send(message);
  coordinator().Step();
  ASSERT_TRUE(fleet_[0]->channel().closed.has_value());
  EXPECT_TRUE(absl::IsInvalidArgument(*fleet_[0]->channel().closed));
  EXPECT_EQ(server_.Show(run_).clients(0).state(), "assigned");
}

TEST_F(CoordinatorAccessTest, AStreamBeginsWithHello) {
  auto channel = std::make_shared<FakeChannel>();
  const uint64_t connection = *coordinator().Connect("new", channel);
  v1::ClientMessage message;
  message.mutable_accepted()->mutable_session()->set_run_id(run_);
  coordinator().Receive(connection, message, [] {});
  coordinator().Step();
  ASSERT_TRUE(channel->closed.has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(*channel->closed));
}

TEST_F(CoordinatorAccessTest, AMessageIsHandledOnceItsAnswerIsSent) {
  auto channel = std::make_shared<FakeChannel>();
  const uint64_t connection = *coordinator().Connect("new", channel);
  v1::ClientMessage hello;
  hello.mutable_hello()->set_population("default");
  std::vector<size_t> answers;  // sent when the message counted as handled
  for (size_t flood = 0; flood < 100; ++flood) {
    coordinator().Receive(connection, hello,
                          [&] { answers.push_back(channel->messages.size()); });
    EXPECT_EQ(answers.size(), flood);
    coordinator().Step();
    ASSERT_EQ(answers.size(), flood + 1);
    EXPECT_EQ(answers.back(), flood + 1);  // each hello: one ComeBack
  }
}

TEST_F(CoordinatorAccessTest, AMessageOfADroppedBatchCountsAsHandled) {
  v1::ClientMessage message;
  *message.mutable_declined()->mutable_session() = fleet_[0]->Key();
  message.mutable_declined()->set_reason(v1::Declined::UNABLE);
  int handled = 0;
  server_.database().fail_at = server_.database().count;
  coordinator().Receive(fleet_[0]->connection(), message, [&] { ++handled; });
  coordinator().Step();
  EXPECT_TRUE(server_.dead());
  EXPECT_EQ(handled, 1);
}

TEST_F(CoordinatorAccessTest, AMessageToAStoppedServerIsHandledAtOnce) {
  coordinator().Stop();
  int handled = 0;
  coordinator().Receive(fleet_[0]->connection(), {}, [&] { ++handled; });
  EXPECT_EQ(handled, 1);
}

TEST_F(CoordinatorAccessTest, ASecondConnectionReplacesTheFirst) {
  FakeChannel& first = fleet_[0]->channel();
  auto second = std::make_shared<FakeChannel>();
  ASSERT_TRUE(coordinator().Connect("d1", second).ok());
  coordinator().Step();
  ASSERT_TRUE(first.closed.has_value());
  EXPECT_TRUE(absl::IsAborted(*first.closed));
  EXPECT_FALSE(second->closed.has_value());
}

TEST_F(CoordinatorAccessTest, ProgressIsShown) {
  v1::ClientMessage message;
  v1::Progress& progress = *message.mutable_progress();
  *progress.mutable_session() = fleet_[0]->Key();
  progress.set_phase(v1::Progress::TRAINING);
  progress.set_step(3);
  progress.set_steps(6);
  fleet_[0]->Send(message);
  coordinator().Step();
  const v1::ClientStatus client = server_.Show(run_).clients(0);
  EXPECT_EQ(client.state(), "training");
  EXPECT_EQ(client.step(), 3u);
}

TEST_F(CoordinatorAccessTest, BytesAreCountedForTheRun) {
  coordinator().CountDownload("d1", Sha256(std::string(1000, 'b')), 1000);
  coordinator().CountDownload("d1", Sha256("adapter"), 224);
  EXPECT_EQ(server_.Show(run_).bytes_down(), 1224u);
  EXPECT_EQ(server_.Show(run_).base_bytes_down(), 1000u);
}

}  // namespace
}  // namespace edgetune
