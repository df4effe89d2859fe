// Masked vectors that a device may not upload, or that are not what it said:
// over mutual TLS, to the real coordinator.

#include <gmock/gmock.h>

#include <algorithm>
#include <utility>

#include "tests/secagg/tls_world.h"

namespace edgetune {
namespace {

using testing::ScriptedDevice;
using testing::TlsWorld;
using Body = ScriptedDevice::Body;

TEST(EvilUploadsTest, A17UploadsOfAnotherLengthAreRefused) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(2);
  std::vector<absl::Status> answers;
  liar.uploaded = [&] {
    if (!answers.empty()) return true;
    v1::UploadKey key = liar.upload_key();
    const uint64_t right = key.size();
    for (const uint64_t size :
         {uint64_t{0}, uint64_t{1}, right - 1, right + 1, uint64_t{1} << 31}) {
      key.set_size(size);
      answers.push_back(liar.transport().QueryUpload(key).status());
    }
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  ASSERT_EQ(answers.size(), 5u);
  for (const absl::Status& answer : answers) {
    EXPECT_TRUE(absl::IsInvalidArgument(answer)) << answer;
  }
}

TEST(EvilUploadsTest, A17AnInputWithoutItsUploadIsRefused) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(2);
  liar.to_server = [&](Body& honest) {
    if (!honest.has_input()) return true;
    Body lie = honest;
    lie.mutable_input()->set_digest(std::string(32, 'd'));
    liar.Sign(lie);
    liar.Send(lie);
    return true;
  };
  world.Submit();
  EXPECT_TRUE(world.WaitEvent("refused the masked update of " +
                              liar.member.name + ": no upload"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 3, 4});
}

// A vector whose padding bits are set cannot be added.
TEST(EvilUploadsTest, A17PaddingBitsMakeADropout) {
  TlsWorld world(5);
  world.run.plan.mutable_secagg()->set_bits(20);
  const MaskedShape shape =
      MaskedShapeOf(world.run.plan, 0, v1::RoundManifest::TRAIN).value();
  ASSERT_NE(shape.size() * shape.bits % 8, 0u);
  bool told = false;
  world.device(2).upload = [&](std::string& masked) {
    if (!told) masked.back() |= '\x80';
    told = true;
  };
  world.Submit();
  EXPECT_TRUE(world.WaitEvent("padding bits set"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 3, 4});
}

// Even where it closes the phase: nobody else's contribution is lost.
TEST(EvilUploadsTest, A17PaddingBitsThatComeLastMakeADropout) {
  TlsWorld world(5);
  world.run.plan.mutable_secagg()->set_bits(20);
  ScriptedDevice& liar = world.device(2);
  bool told = false;
  liar.upload = [&](std::string& masked) {
    if (!told) masked.back() |= '\x80';
  };
  liar.uploaded = [&] { return std::exchange(told, true); };
  world.Submit();
  ASSERT_TRUE(liar.WaitUpload());
  world.WaitUntil([](const v1::RunStatus& status) {
    return std::ranges::count(status.clients(), "awaited",
                              &v1::ClientStatus::state) == 1;
  });
  liar.FinishUpload();
  EXPECT_TRUE(world.WaitEvent("padding bits set"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 3, 4});
}

// What the coordinator answers to an announcement of these bytes.
absl::Status Announce(ScriptedDevice& device, const v1::UploadKey& key) {
  return device.transport().QueryUpload(key).status();
}

v1::UploadKey KeyOf(ScriptedDevice& device, const TlsWorld& world) {
  v1::UploadKey key;
  *key.mutable_session() = device.session_key();
  key.set_sha256(std::string(32, 'u'));
  key.set_size(MaskedShapeOf(world.run.plan, 0, v1::RoundManifest::TRAIN)
                   .value()
                   .byte_size());
  return key;
}

TEST(EvilUploadsTest, A4AnUploadBeforeItIsAskedForIsLate) {
  TlsWorld world(5);
  ScriptedDevice& early = world.device(2);
  std::vector<absl::Status> answers;
  early.to_server = [&](Body& message) {
    if (message.has_ack() && answers.empty()) {
      answers.push_back(Announce(early, KeyOf(early, world)));
    }
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(answers[0])) << answers[0];
}

TEST(EvilUploadsTest, A4AnUploadForAnotherAttemptIsLate) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(2);
  std::vector<absl::Status> answers;
  liar.uploaded = [&] {
    if (!answers.empty()) return true;
    v1::UploadKey key = KeyOf(liar, world);
    key.mutable_session()->set_attempt(7);
    answers.push_back(Announce(liar, key));
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(answers[0])) << answers[0];
}

// Its own vector is the first of nine.
TEST(EvilUploadsTest, A17OneSessionAnnouncesNineVectors) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(2);
  std::vector<absl::Status> answers;
  liar.uploaded = [&] {
    if (!answers.empty()) return true;
    v1::UploadKey key = KeyOf(liar, world);
    for (char name = 'a'; name < 'a' + 9; ++name) {
      key.set_sha256(std::string(32, name));
      answers.push_back(Announce(liar, key));
    }
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 3, 4});
  ASSERT_EQ(answers.size(), 9u);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(answers[i].ok()) << answers[i];
  EXPECT_TRUE(absl::IsResourceExhausted(answers[8])) << answers[8];
}

}  // namespace
}  // namespace edgetune
