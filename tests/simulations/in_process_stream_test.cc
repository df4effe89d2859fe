#include "simulations/in_process_stream.h"

#include <gtest/gtest.h>

#include <string>

namespace edgetune {
namespace {

v1::ServerMessage ComeBack(const std::string& reason) {
  v1::ServerMessage message;
  message.mutable_come_back()->set_reason(reason);
  return message;
}

v1::ClientMessage Hello(const std::string& version) {
  v1::ClientMessage message;
  message.mutable_hello()->set_client_version(version);
  return message;
}

std::string TakeSent(InProcessStream& stream) {
  const auto message = stream.Take();
  const auto* sent = std::get_if<v1::ServerMessage>(&*message);
  return sent == nullptr ? "nothing sent" : sent->come_back().reason();
}

std::string TakeSaid(InProcessStream& stream) {
  const auto message = stream.Take();
  const auto* said = std::get_if<v1::ClientMessage>(&*message);
  return said == nullptr ? "nothing said" : said->hello().client_version();
}

TEST(InProcessStreamTest, GivesTheNextMessageOnceTheLastWasHandled) {
  InProcessStream stream;
  for (const char* version : {"1", "2", "3"}) stream.Say(Hello(version));
  EXPECT_EQ(TakeSaid(stream), "1");
  for (const char* reason : {"a", "b"}) stream.Send(ComeBack(reason));
  EXPECT_EQ(TakeSent(stream), "a");
  EXPECT_EQ(TakeSent(stream), "b");
  stream.Handled();
  EXPECT_EQ(TakeSaid(stream), "2");
}

TEST(InProcessStreamTest, ClosedItGivesWhatWasSentAndNothingThatWasSaid) {
  InProcessStream stream;
  stream.Say(Hello("1"));
  stream.Send(ComeBack("a"));
  stream.Close(absl::AbortedError("enough"));
  stream.Say(Hello("2"));
  stream.Send(ComeBack("b"));
  EXPECT_EQ(TakeSent(stream), "a");
  EXPECT_EQ(stream.Take().status(), absl::AbortedError("enough"));
}

}  // namespace
}  // namespace edgetune
