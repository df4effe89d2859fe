// The Participate stream seen from a bare stub: limits, replacement, slow
// readers (A23).

#include <gmock/gmock.h>

#include <memory>
#include <string>

#include "client/grpc/channel.h"
#include "protos/edgetune/v1/federation.grpc.pb.h"
#include "protos/grpc_status.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

// One Participate stream of a device.
class Device {
 public:
  Device(RpcWorld& world, const Kit& kit)
      : stub_(v1::Federation::NewStub(MakeChannel(kit, world.address()))) {
    SetDeadline(context_, absl::Seconds(40));
    stream_ = stub_->Participate(&context_);
  }

  bool Say(const v1::ClientMessage& message) { return stream_->Write(message); }
  bool Hear(v1::ServerMessage* message) { return stream_->Read(message); }
  void HangUp() { stream_->WritesDone(); }
  // How the stream ended; reads the rest.
  absl::Status End() {
    v1::ServerMessage rest;
    while (stream_->Read(&rest)) {
    }
    return FromGrpcStatus(stream_->Finish());
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::Federation::Stub> stub_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::ClientMessage, v1::ServerMessage>>
      stream_;
};

v1::ClientMessage Hello() {
  v1::ClientMessage message;
  message.mutable_hello()->set_population("pop");
  return message;
}

// A message of exactly `size` bytes serialised.
v1::ClientMessage MessageOf(size_t size) {
  v1::ClientMessage message;
  std::string& text = *message.mutable_hello()->mutable_population();
  text.assign(size - 16, 'x');
  while (message.ByteSizeLong() < size) text.push_back('x');
  return message;
}

v1::ServerMessage ComeBack(const std::string& reason) {
  v1::ServerMessage message;
  message.mutable_come_back()->set_reason(reason);
  return message;
}

TEST(ParticipateTest, CarriesMessagesBothWaysInOrder) {
  RpcWorld world;
  Device device(world, world.device_kit);
  ASSERT_TRUE(device.Say(Hello()));
  ASSERT_TRUE(world.coordinator.WaitReceived(1));
  EXPECT_EQ(world.coordinator.Received(0).hello().population(), "pop");
  auto channel = world.coordinator.ChannelOf("d1");
  ASSERT_NE(channel, nullptr);
  for (int i = 0; i < 100; ++i) channel->Send(ComeBack(std::to_string(i)));
  for (int i = 0; i < 100; ++i) {
    v1::ServerMessage message;
    ASSERT_TRUE(device.Hear(&message));
    EXPECT_EQ(message.come_back().reason(), std::to_string(i));
  }
}

TEST(ParticipateTest, EndsWellWhenTheDeviceHangsUp) {
  RpcWorld world;
  Device device(world, world.device_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d1"));
  device.HangUp();
  EXPECT_TRUE(device.End().ok());
  EXPECT_TRUE(world.coordinator.WaitConnected("d1", false));
}

TEST(ParticipateTest, TellsADeniedDeviceWhy) {
  RpcWorld world;
  world.coordinator.SetDenied({"d1"});
  Device device(world, world.device_kit);
  absl::Status status = device.End();
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("deny list"));
}

TEST(ParticipateTest, WritesWhatIsQueuedBeforeItCloses) {
  RpcWorld world;
  Device device(world, world.device_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d1"));
  auto channel = world.coordinator.ChannelOf("d1");
  for (int i = 0; i < 10; ++i) channel->Send(ComeBack("last words"));
  channel->Close(absl::AbortedError("enough"));
  v1::ServerMessage message;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(device.Hear(&message));
  absl::Status end = device.End();
  EXPECT_TRUE(absl::IsAborted(end));
  EXPECT_EQ(end.message(), "enough");
}

TEST(ParticipateTest, ClosesTheFirstOfTwoStreamsOfADevice) {
  RpcWorld world;
  Device first(world, world.device_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d1"));
  Device second(world, world.device_kit);
  EXPECT_TRUE(absl::IsAborted(first.End()));
  ASSERT_TRUE(second.Say(Hello()));
  EXPECT_TRUE(world.coordinator.WaitReceived(1));
}

TEST(ParticipateTest, AcceptsAControlMessageOfOneMebibyteAndRefusesMore) {
  RpcWorld world;
  Device other(world, world.other_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d2"));
  Device device(world, world.device_kit);
  ASSERT_TRUE(device.Say(MessageOf(1 << 20)));
  ASSERT_TRUE(world.coordinator.WaitReceived(1));
  device.Say(MessageOf((1 << 20) + 1));
  absl::Status status = device.End();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("has 1048577 bytes"));
  ASSERT_TRUE(other.Say(Hello()));
  EXPECT_TRUE(world.coordinator.WaitReceived(2));
}

TEST(ParticipateTest, LetsGrpcRefuseAMessageOverFourMebibytes) {
  RpcWorld world;
  Device other(world, world.other_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d2"));
  Device device(world, world.device_kit);
  device.Say(MessageOf((4 << 20) + 1));
  EXPECT_TRUE(absl::IsResourceExhausted(device.End()));
  EXPECT_TRUE(world.coordinator.WaitConnected("d1", false));
  ASSERT_TRUE(other.Say(Hello()));
  ASSERT_TRUE(world.coordinator.WaitReceived(1));
  EXPECT_EQ(world.coordinator.Received(0).hello().population(), "pop");
}

TEST(ParticipateTest, ClosesADeviceThatDoesNotRead) {
  RpcWorld world;
  Device device(world, world.device_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d1"));
  auto channel = world.coordinator.ChannelOf("d1");
  for (int i = 0; i < 40; ++i) {
    channel->Send(ComeBack(std::string(512 << 10, 'x')));
  }
  EXPECT_TRUE(world.coordinator.WaitConnected("d1", false));
  EXPECT_FALSE(device.End().ok());
  channel->Send(ComeBack("to nobody"));  // the channel outlives its stream
}

TEST(ParticipateTest, AFloodingDeviceHasOneMessageWithTheCoordinator) {
  RpcWorld world;
  world.coordinator.HoldMessages();
  Device device(world, world.device_kit);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(device.Say(Hello()));
  for (int i = 1; i <= 200; ++i) {
    ASSERT_TRUE(world.coordinator.WaitReceived(i));
    world.coordinator.HandleHeld();
  }
  EXPECT_EQ(world.coordinator.most_held(), 1u);
}

TEST(ParticipateTest, ClosesADeviceWhoseMessageIsNotHandledYet) {
  RpcWorld world;
  world.coordinator.HoldMessages();
  Device device(world, world.device_kit);
  ASSERT_TRUE(device.Say(Hello()));
  ASSERT_TRUE(world.coordinator.WaitReceived(1));
  world.coordinator.ChannelOf("d1")->Close(absl::AbortedError("enough"));
  EXPECT_TRUE(absl::IsAborted(device.End()));
  EXPECT_TRUE(world.coordinator.WaitConnected("d1", false));
  world.coordinator.HandleHeld();  // the stream is gone: nothing is read
}

TEST(ParticipateTest, NoticesADeviceThatLeftWhileItsMessageWaited) {
  RpcWorld world;
  world.coordinator.HoldMessages();
  Device device(world, world.device_kit);
  ASSERT_TRUE(device.Say(Hello()));
  ASSERT_TRUE(world.coordinator.WaitReceived(1));
  device.HangUp();
  world.coordinator.HandleHeld();
  EXPECT_TRUE(device.End().ok());
  EXPECT_TRUE(world.coordinator.WaitConnected("d1", false));
}

TEST(ParticipateTest, OutlivesAServerThatStopsWhileDevicesAreConnected) {
  RpcWorld world;
  Device device(world, world.device_kit);
  ASSERT_TRUE(world.coordinator.WaitConnected("d1"));
  auto channel = world.coordinator.ChannelOf("d1");
  world.server->Shutdown();
  EXPECT_EQ(world.coordinator.ChannelOf("d1"), nullptr);
  channel->Send(ComeBack("to nobody"));
  channel->Close(absl::AbortedError("again"));
  EXPECT_FALSE(device.End().ok());
}

}  // namespace
}  // namespace edgetune
