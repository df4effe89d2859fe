#include "server/message_check.h"

#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

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
  const std::vector<std::function<v1::SessionKey*(v1::ClientMessage&)>> keys = {
      [](auto& m) { return m.mutable_hello()->mutable_resume(); },
      [](auto& m) { return m.mutable_accepted()->mutable_session(); },
      [](auto& m) {
        m.mutable_declined()->set_reason(v1::Declined::REFUSED);
        return m.mutable_declined()->mutable_session();
      },
      [](auto& m) {
        m.mutable_progress()->set_phase(v1::Progress::TRAINING);
        return m.mutable_progress()->mutable_session();
      },
      [](auto& m) { return m.mutable_report()->mutable_session(); },
      [](auto& m) {
        m.mutable_secagg()->mutable_message()->mutable_ack();
        return m.mutable_secagg()->mutable_session();
      },
  };
  for (size_t i = 0; i < keys.size(); ++i) {
    for (const size_t size : {0, 31, 32, 33}) {
      v1::ClientMessage message;
      keys[i](message)->set_run_id(std::string(size, 'r'));
      EXPECT_EQ(CheckClientMessage(message).ok(), size == 32)
          << i << " " << size;
    }
  }
}

TEST(MessageCheckTest, RefusesAMaskingMessageWithoutBody) {
  v1::ClientMessage message;
  message.mutable_secagg()->mutable_session()->set_run_id(std::string(32, 'r'));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(message)));
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
  // Each text at the most that it may have.
  const std::vector<
      std::pair<size_t, std::function<std::string*(v1::ClientMessage&)>>>
      texts = {
          {64,
           [](auto& m) { return m.mutable_hello()->mutable_client_version(); }},
          {128,
           [](auto& m) { return m.mutable_hello()->mutable_population(); }},
          {800,
           [](auto& m) {
             v1::Declined& declined = *m.mutable_declined();
             declined.mutable_session()->set_run_id(std::string(32, 'r'));
             declined.set_reason(v1::Declined::REFUSED);
             return declined.mutable_detail();
           }},
      };
  for (const auto& [most, field] : texts) {
    v1::ClientMessage message;
    std::string& text = *field(message);
    text.assign(most, 'x');
    EXPECT_TRUE(CheckClientMessage(message).ok()) << most;
    text.push_back('x');
    EXPECT_TRUE(absl::IsInvalidArgument(CheckClientMessage(message))) << most;
  }
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
