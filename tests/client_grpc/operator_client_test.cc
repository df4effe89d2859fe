#include "client/grpc/operator_client.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<OperatorClient> Connect(RpcWorld& world) {
  auto client = OperatorClient::Connect(world.operator_kit, world.address());
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

v1::RunStatus RunNamed(const std::string& id, v1::RunStatus::State state) {
  v1::RunStatus run;
  run.set_run_id(id);
  run.set_state(state);
  return run;
}

TEST(OperatorClientTest, PutsAPartOnceAndResumesWhatIsThere) {
  RpcWorld world;
  auto client = Connect(world);
  std::string bytes = MakeBytes(1'000'000, 1);
  std::vector<uint64_t> seen;
  auto progress = [&](uint64_t there, uint64_t all) {
    EXPECT_EQ(all, bytes.size());
    seen.push_back(there);
  };
  ASSERT_TRUE(client->PutPart(Sha256(bytes), AsBytes(bytes), progress).ok());
  EXPECT_THAT(seen, ElementsAre(0, 262144, 524288, 786432, 1000000));
  EXPECT_TRUE(world.blobs->Has(Sha256(bytes)));
  seen.clear();
  ASSERT_TRUE(client->PutPart(Sha256(bytes), AsBytes(bytes), progress).ok());
  EXPECT_THAT(seen, ElementsAre(1000000));
}

TEST(OperatorClientTest, IsToldWhenTheServerGotOtherBytes) {
  RpcWorld world;
  auto client = Connect(world);
  std::string bytes = MakeBytes(1000, 2);
  EXPECT_TRUE(absl::IsDataLoss(client->PutPart(
      Sha256("something else"), AsBytes(bytes), [](uint64_t, uint64_t) {})));
}

TEST(OperatorClientTest, SubmitsListsShowsAndStops) {
  RpcWorld world;
  auto client = Connect(world);
  v1::Envelope plan;
  plan.set_payload("plan");
  auto run = client->Submit(plan);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->run_id(), Sha256Bytes("plan"));
  EXPECT_EQ(client->List()->size(), 1u);
  EXPECT_EQ(client->Show(run->run_id())->state(), v1::RunStatus::QUEUED);
  EXPECT_EQ(client->Stop(run->run_id())->state(), v1::RunStatus::STOPPED);
  EXPECT_TRUE(absl::IsNotFound(client->Show("none").status()));
}

TEST(OperatorClientTest, RefusesAPlanOfOverAMebibyte) {
  RpcWorld world;
  auto client = Connect(world);
  v1::Envelope plan;
  plan.set_payload(std::string(1 << 20, 'x'));
  EXPECT_TRUE(absl::IsResourceExhausted(client->Submit(plan).status()));
  EXPECT_TRUE(client->List()->empty());
}

TEST(OperatorClientTest, WatchesUntilTheRunHasEnded) {
  RpcWorld world;
  auto client = Connect(world);
  world.coordinator.SetRun(RunNamed("r", v1::RunStatus::QUEUED));
  auto last = client->Watch("r", [&](const v1::RunStatus& status) {
    auto next = status.state() == v1::RunStatus::QUEUED
                    ? v1::RunStatus::RUNNING
                    : v1::RunStatus::FINISHED;
    world.coordinator.SetRun(RunNamed("r", next));
    return true;
  });
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->state(), v1::RunStatus::FINISHED);
  EXPECT_TRUE(world.coordinator.WaitUnwatched());
}

TEST(OperatorClientTest, WatchesOnAfterARestartOfTheServer) {
  RpcWorld world;
  auto client = Connect(world);
  world.coordinator.SetRun(RunNamed("r", v1::RunStatus::RUNNING));
  std::thread restart;
  auto last = client->Watch("r", [&](const v1::RunStatus&) {
    if (!restart.joinable()) {
      restart = std::thread([&] {
        world.Restart();
        world.coordinator.SetRun(RunNamed("r", v1::RunStatus::FAILED));
      });
    }
    return true;
  });
  restart.join();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->state(), v1::RunStatus::FAILED);
}

TEST(OperatorClientTest, StopsWatchingWhenToldTo) {
  RpcWorld world;
  auto client = Connect(world);
  world.coordinator.SetRun(RunNamed("r", v1::RunStatus::RUNNING));
  auto last = client->Watch("r", [](const v1::RunStatus&) { return false; });
  EXPECT_TRUE(last.ok());
  EXPECT_TRUE(world.coordinator.WaitUnwatched());
  EXPECT_TRUE(absl::IsNotFound(
      client->Watch("none", [](const v1::RunStatus&) { return true; })
          .status()));
}

TEST(OperatorClientTest, FetchesWhatARunPublishesAndNothingElse) {
  RpcWorld world;
  auto client = Connect(world);
  std::string base = MakeBytes(300'000, 3), adapter = MakeBytes(400, 4),
              update = MakeBytes(400, 5);
  v1::ModelCard card;
  card.set_adapter_digest(Sha256Bytes(adapter));
  v1::RunStatus run = RunNamed("r", v1::RunStatus::FINISHED);
  run.mutable_plan()->mutable_model()->add_parts()->set_sha256(
      Sha256Bytes(base));
  run.add_cards()->set_payload(card.SerializeAsString());
  world.coordinator.SetRun(run);
  for (const std::string* blob : {&base, &adapter, &update}) {
    ASSERT_TRUE(world.blobs->Put(AsBytes(*blob)).ok());
  }
  EXPECT_EQ(client->Fetch(Sha256(base)).value(), base);
  EXPECT_EQ(client->Fetch(Sha256(adapter)).value(), adapter);
  EXPECT_TRUE(absl::IsNotFound(client->Fetch(Sha256(update)).status()));
}

}  // namespace
}  // namespace edgetune
