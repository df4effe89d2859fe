#include "server/message_check.h"

#include <gmock/gmock.h>

#include <limits>

namespace edgetune {
namespace {

v1::ClientMessage GoodProgress() {
  v1::ClientMessage message;
  message.mutable_progress()->mutable_session()->set_run_id(
      std::string(32, 'r'));
  message.mutable_progress()->set_phase(v1::Progress::TRAINING);
  return message;
}

TEST(MessageCheckTest, TakesAWellFormedMessage) {
  v1::ClientMessage message = GoodProgress();
  EXPECT_TRUE(CheckClientMessage(message).ok());
}

TEST(MessageCheckTest, RefusesAMessageWithoutBody) {
  v1::ClientMessage message;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(message)));
}

TEST(MessageCheckTest, RefusesARunIdOfAnotherLength) {
  for (size_t size : {0, 31, 33}) {
    v1::ClientMessage message;
    message.mutable_report()->mutable_session()->set_run_id(
        std::string(size, 'r'));
    EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(message))) << size;
  }
}

TEST(MessageCheckTest, RefusesUnknownEnumValues) {
  v1::ClientMessage progress = GoodProgress();
  progress.mutable_progress()->set_phase(static_cast<v1::Progress::Phase>(77));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(progress)));
  v1::ClientMessage declined;
  declined.mutable_declined()->mutable_session()->set_run_id(
      std::string(32, 'r'));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(declined)));
}

TEST(MessageCheckTest, RefusesLongTextsAndControlCharacters) {
  v1::ClientMessage longer;
  longer.mutable_hello()->set_client_version(std::string(65, 'v'));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(longer)));
  v1::ClientMessage forged;
  forged.mutable_hello()->set_population("x\nrun 00000000: committed");
  EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(forged)));
}

TEST(MessageCheckTest, ALossThatIsNotFiniteIsShownAsUnknown) {
  v1::ClientMessage message = GoodProgress();
  message.mutable_progress()->set_loss(
      std::numeric_limits<double>::quiet_NaN());
  ASSERT_TRUE(CheckClientMessage(message).ok());
  EXPECT_EQ(message.progress().loss(), 0);
}

}  // namespace
}  // namespace edgetune
