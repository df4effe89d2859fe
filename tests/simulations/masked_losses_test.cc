// Masked rounds in which processes go: the coordinator in every phase, clients
// in every phase, more of them than a round survives. Nothing here asserts a
// duration.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/local_data.h"
#include "client/train_plan.h"
#include "privacy/secagg/encoding.h"
#include "protos/edgetune/v1/secagg.pb.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::kNames;
using testing::RecordingEngine;
using testing::World;
using Body = v1::SecAggClientMessage::BodyCase;

// A message of one kind that a device will say, until it may.
struct Gate {
  Body kind = Body::BODY_NOT_SET;
  std::atomic<bool> shut{true};
  std::atomic<bool> reached{false};

  bool LetsPass(const v1::ClientMessage& message) {
    if (!shut || message.secagg().message().body_case() != kind) return true;
    reached = true;
    return false;
  }
};

// Six devices with engines of their own, and one round.
class MaskedLossesTest : public ::testing::Test {
 protected:
  MaskedLossesTest() : world(6) {
    testing::Mask(world.run.plan);
    world.run.plan.mutable_rounds()->set_count(1);
    world.run.plan.mutable_rounds()->set_reconnect_grace_ms(50);
    for (int i = 0; i < 6; ++i) {
      world.AddDevice(kNames[i], 8 + 5 * i, &engines[kNames[i]]);
    }
  }

  // Shuts a gate before what the device says of this kind.
  Gate& Bar(const std::string& device, Body kind) {
    Gate& gate = gates[gates_used++];
    gate.kind = kind;
    world.devices[device]->lets_pass = [&gate](const v1::ClientMessage& m) {
      return gate.LetsPass(m);
    };
    return gate;
  }
  void StartAll() {
    for (auto& [name, device] : world.devices) device->Start();
    world.Submit();
  }
  void WaitFor(const Gate& gate) {
    world.WaitUntil([&](const v1::RunStatus&) { return gate.reached.load(); });
    ASSERT_TRUE(gate.reached);
  }
  // SIGKILL leaves no more behind than this.
  void Kill(const std::string& device) { (void)world.devices[device]->Stop(); }
  void ReviveIn(const std::string& device) {
    world.devices[device]->lets_pass = nullptr;
    world.devices[device]->Start();
  }
  v1::RoundReceipt Receipt(int number) {
    const v1::RunStatus status = world.Status();
    EXPECT_GT(status.receipts_size(), number) << status.ShortDebugString();
    v1::Envelope envelope;
    v1::RoundReceipt receipt;
    if (status.receipts_size() <= number) return receipt;
    EXPECT_TRUE(envelope.ParseFromString(world.Blob(status.receipts(number))));
    EXPECT_TRUE(
        VerifyDocument(DocumentUse::kReceipt, envelope, world.keys.trusted)
            .ok());
    EXPECT_TRUE(receipt.ParseFromString(envelope.payload()));
    return receipt;
  }
  // Names of those whose vectors are in the sum.
  static std::vector<std::string> Survivors(const v1::RoundReceipt& receipt) {
    std::vector<std::string> names;
    for (const v1::GroupReceipt& group : receipt.groups()) {
      const auto in_u3 = *secagg::MembersOf(
          group.u3(), static_cast<size_t>(group.cohort_size()));
      for (int i = 0; i < group.cohort_size(); ++i) {
        for (const char* name : kNames) {
          const ClientId id = ClientIdOf(name);
          const std::string bytes(id.begin(), id.end());
          if (in_u3[static_cast<size_t>(i)] &&
              group.cohort(i).client_id() == bytes) {
            names.emplace_back(name);
          }
        }
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  // What was published is the weighted mean of what the survivors trained,
  // computed here in doubles, but for one rounding of each.
  void ExpectMeanOf(const std::vector<std::string>& survivors) {
    const auto adapters = world.Adapters();
    ASSERT_EQ(adapters.size(), 2u);
    std::vector<double> sum(adapters[0].size());
    double weights = 0;
    for (const std::string& name : survivors) {
      const ParameterVector delta = engines[name].deltas().at(0);
      const Device& device = *world.devices[name];
      const auto model = *ModelFile::Open(world.run.model_path);
      const auto data =
          *ReadLocalData(device.file.data, world.run.plan, *model);
      const double weight = WeightOf(world.run.plan, data.train->size());
      weights += weight;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * delta[i];
    }
    const auto shape =
        *MaskedShapeOf(world.run.plan, 0, v1::RoundManifest::TRAIN);
    const double cap = world.run.plan.rounds().weight_cap();
    const double bound = 1e-6 + static_cast<double>(survivors.size()) /
                                    shape.ScaleOf(shape.bound) * cap / weights;
    for (size_t i = 0; i < sum.size(); ++i) {
      ASSERT_NEAR(adapters[1][i], adapters[0][i] + sum[i] / weights, bound);
    }
  }
  // Sessions in which a stopped device contributed from one adapter.
  int64_t TimesSpent(const std::string& device, v1::RoundManifest::Kind kind) {
    int64_t times = -1;
    const auto database = world.devices[device]->OpenState();
    EXPECT_TRUE(database
                    ->Run([&](Transaction& transaction) -> absl::Status {
                      const auto rows = transaction.Query(
                          "SELECT COUNT(*) FROM spent WHERE kind=?",
                          {int64_t{kind}});
                      if (rows.ok()) times = std::get<int64_t>((*rows)[0][0]);
                      return rows.status();
                    })
                    .ok());
    return times;
  }
  int Trainings() const {
    int sum = 0;
    for (const auto& [name, engine] : engines) sum += engine.fake.trainings;
    return sum;
  }
  bool Mentions(const std::string& text) {
    const v1::RunStatus status = world.Status();
    return std::any_of(status.events().begin(), status.events().end(),
                       [&](const v1::RunEvent& event) {
                         return event.text().find(text) != std::string::npos;
                       });
  }

  // The devices use both for as long as they run.
  std::map<std::string, RecordingEngine> engines;
  Gate gates[2];
  size_t gates_used = 0;
  World world;
};

const std::vector<std::string> kAll = {"animal", "artifact", "body",
                                       "food",   "motion",   "plant"};

std::vector<std::string> AllBut(const std::string& name) {
  std::vector<std::string> names = kAll;
  std::erase(names, name);
  return names;
}

// Names of the devices that people see in this state.
std::vector<std::string> InState(const v1::RunStatus& status,
                                 const std::string& state) {
  std::vector<std::string> names;
  for (const v1::ClientStatus& client : status.clients()) {
    if (client.state() == state) names.push_back(client.device_id());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct Moment {
  const char* phase;  // as people see it
  Body kind;          // what the phase waits for
};

void PrintTo(const Moment& moment, std::ostream* out) { *out << moment.phase; }

const Moment kMoments[] = {{"masking: shares", Body::kShares},
                           {"masking: acks", Body::kAck},
                           {"masking: input", Body::kInput},
                           {"masking: survivors", Body::kSurvivors},
                           {"masking: unmask", Body::kUnmask}};

class ServerGoneTest : public MaskedLossesTest,
                       public ::testing::WithParamInterface<Moment> {};
INSTANTIATE_TEST_SUITE_P(Phases, ServerGoneTest, ::testing::ValuesIn(kMoments));

TEST_P(ServerGoneTest, TheSameSessionsGoOnWithTheNextCoordinator) {
  world.run.plan.mutable_rounds()->set_reconnect_grace_ms(30'000);
  Gate& gate = Bar("food", GetParam().kind);
  StartAll();
  WaitFor(gate);
  EXPECT_EQ(world
                .WaitUntil([](const v1::RunStatus& status) {
                  return status.phase() == GetParam().phase;
                })
                .phase(),
            GetParam().phase);
  world.WaitUntil([](const v1::RunStatus& status) {
    return InState(status, "awaited") == std::vector<std::string>{"food"};
  });
  EXPECT_EQ(InState(world.Status(), "reported"), AllBut("food"));
  world.StopServer();
  gate.shut = false;
  world.StartServer();
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(Survivors(Receipt(0)), kAll);
  EXPECT_EQ(Receipt(0).groups(0).signatures_size(), 6);
  ExpectMeanOf(kAll);
  EXPECT_EQ(Trainings(), 6);
  for (const Moment& moment : kMoments) {
    // The first is told with the number of clients.
    const bool first = moment.kind == Body::kShares;
    EXPECT_TRUE(Mentions(first ? "masking with 6 clients" : moment.phase));
  }
  EXPECT_FALSE(Mentions("attempt 1"));
  EXPECT_FALSE(Mentions(" left"));
}

TEST_F(MaskedLossesTest, OneLostBeforeTheKeysAndOneAfterItsInput) {
  Gate& before = Bar("food", Body::kAdvertise);
  Gate& after = Bar("plant", Body::kSurvivors);
  StartAll();
  WaitFor(before);
  Kill("food");
  WaitFor(after);
  Kill("plant");
  world.WaitUntil(
      [](const auto& status) { return status.receipts_size() == 1; });
  const v1::RoundReceipt receipt = Receipt(0);
  EXPECT_EQ(receipt.groups(0).cohort_size(), 5);
  EXPECT_EQ(Survivors(receipt), AllBut("food"));
  ExpectMeanOf(AllBut("food"));
}

TEST_F(MaskedLossesTest, OneThatSignedTheSurvivorsNeedNotUnmask) {
  Gate& gate = Bar("motion", Body::kUnmask);
  StartAll();
  WaitFor(gate);
  Kill("motion");
  world.WaitUntil(
      [](const auto& status) { return status.receipts_size() == 1; });
  EXPECT_EQ(Survivors(Receipt(0)), kAll);
  EXPECT_EQ(Receipt(0).groups(0).signatures_size(), 6);
  ExpectMeanOf(kAll);
}

class ClientGoneTest : public MaskedLossesTest,
                       public ::testing::WithParamInterface<Moment> {};
const Moment kWithKeys[] = {{"keys", Body::kAdvertise}};
INSTANTIATE_TEST_SUITE_P(Keys, ClientGoneTest, ::testing::ValuesIn(kWithKeys));
INSTANTIATE_TEST_SUITE_P(Phases, ClientGoneTest, ::testing::ValuesIn(kMoments));

// A27: it comes back at once, without the secrets of its session.
TEST_P(ClientGoneTest, IsADropoutAndNeverContributesTwice) {
  Gate& gate = Bar("body", GetParam().kind);
  StartAll();
  WaitFor(gate);
  Kill("body");
  ReviveIn("body");
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  const bool was_in =
      GetParam().kind == Body::kSurvivors || GetParam().kind == Body::kUnmask;
  EXPECT_EQ(Survivors(Receipt(0)), was_in ? kAll : AllBut("body"));
  ExpectMeanOf(Survivors(Receipt(0)));
  EXPECT_EQ(Receipt(1).survivors(), 6u);  // it evaluates with the others
  Kill("body");
  const bool uploaded = was_in || GetParam().kind == Body::kInput;
  EXPECT_EQ(TimesSpent("body", v1::RoundManifest::TRAIN), uploaded ? 1 : 0);
  EXPECT_EQ(TimesSpent("body", v1::RoundManifest::EVAL), 1);
  EXPECT_EQ(engines["body"].fake.trainings, 1);
}

TEST_F(MaskedLossesTest, TooManyLossesCostAnAttemptButNoUpdate) {
  Gate& one = Bar("food", Body::kShares);
  Gate& other = Bar("plant", Body::kShares);
  StartAll();
  WaitFor(one);
  WaitFor(other);
  Kill("food");
  Kill("plant");
  world.WaitUntil([](const auto& status) { return status.attempt() == 1; });
  ReviveIn("food");
  ReviveIn("plant");
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_TRUE(Mentions("NOT_ENOUGH"));
  EXPECT_EQ(Survivors(Receipt(0)), kAll);
  ExpectMeanOf(kAll);
  // Results lived in memory: those that stayed used theirs again.
  EXPECT_EQ(Trainings(), 6 + 2);
  EXPECT_EQ(engines["animal"].fake.trainings, 1);
}

// Of six, two are gone after their input: too few sign, and everybody's update
// has left its device.
class SpentTest : public MaskedLossesTest {
 protected:
  void SpendAll() {
    Gate& one = Bar("food", Body::kSurvivors);
    Gate& other = Bar("plant", Body::kSurvivors);
    StartAll();
    WaitFor(one);
    WaitFor(other);
    Kill("food");
    Kill("plant");
    const v1::RunStatus status = world.WaitUntil([](const auto& s) {
      return s.state() == v1::RunStatus::PAUSED_NEEDS_OVERRIDE;
    });
    ASSERT_EQ(status.state(), v1::RunStatus::PAUSED_NEEDS_OVERRIDE)
        << status.ShortDebugString();
    EXPECT_TRUE(Mentions("TOO_FEW_SIGS"));
    ReviveIn("food");
    ReviveIn("plant");
  }
  void ExpectSpent(int64_t times) {
    for (const char* name : kNames) {
      Kill(name);
      EXPECT_EQ(TimesSpent(name, v1::RoundManifest::TRAIN), times) << name;
    }
  }
};

TEST_F(SpentTest, AnOverrideOfTheReleaseKeyResumesAPausedRun) {
  SpendAll();
  world.StopServer();
  world.StartServer();  // it stays paused
  EXPECT_EQ(world.Status().state(), v1::RunStatus::PAUSED_NEEDS_OVERRIDE);
  ASSERT_TRUE(world.Override(world.MakeOverride(1), world.keys.release).ok());
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(Survivors(Receipt(0)), kAll);
  ExpectMeanOf(kAll);
  ExpectSpent(2);
}

TEST_F(SpentTest, APausedRunGoesOnWithDevicesThatHaveNotContributed) {
  SpendAll();
  const std::vector<std::string> others = {"tool",   "weather", "person",
                                           "number", "colour",  "place"};
  for (const std::string& name : others) {
    world.AddDevice(name, 8, &engines[name]);
  }
  world.PublishRoster();
  for (const std::string& name : others) world.devices[name]->Start();
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_TRUE(Mentions("goes on: "));
  EXPECT_FALSE(Mentions("declined: SPENT")) << "who has contributed was asked";
  EXPECT_EQ(Receipt(0).survivors(), others.size());
  for (const std::string& name : others) {
    EXPECT_EQ(engines[name].fake.trainings, 1) << name;
  }
  ExpectSpent(1);
}

TEST_F(SpentTest, OverridesOfOthersOrForOtherAdaptersAreRefused) {
  SpendAll();
  v1::SpentOverride document = world.MakeOverride(1);
  for (const SigningKey* key : {&world.keys.round, &world.keys.authority}) {
    EXPECT_TRUE(
        absl::IsPermissionDenied(world.Override(document, *key).status()));
  }
  document.set_adapter_digest(std::string(32, 'x'));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      world.Override(document, world.keys.release).status()));
  document = world.MakeOverride(1);
  document.set_plan_digest(std::string(32, 'x'));
  EXPECT_TRUE(
      absl::IsNotFound(world.Override(document, world.keys.release).status()));
  document = world.MakeOverride(1);
  document.mutable_header()->set_expires_ms(1);
  EXPECT_FALSE(world.Override(document, world.keys.release).ok());
  EXPECT_EQ(world.Status().state(), v1::RunStatus::PAUSED_NEEDS_OVERRIDE);
  ExpectSpent(1);
}

// A12: a coordinator that forgets what was spent, as its rows would make it.
class LyingServerTest : public SpentTest,
                        public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Lies, LyingServerTest,
    ::testing::Values("UPDATE runs SET state = 2, forgiven = attempt",
                      "UPDATE runs SET state = 2, round = 1, attempt = 0"));

TEST_P(LyingServerTest, SpentDevicesDeclineAlsoAfterTheirRestart) {
  SpendAll();
  world.StopServer();
  world.ExecuteOnServer("DELETE FROM secagg_spent");
  world.ExecuteOnServer(GetParam());
  const int trained = Trainings();
  world.StartServer();
  const v1::RunStatus status = world.WaitEnded();
  EXPECT_EQ(status.state(), v1::RunStatus::FAILED) << status.ShortDebugString();
  EXPECT_EQ(status.receipts_size(), 0);
  EXPECT_EQ(Trainings(), trained);
  EXPECT_TRUE(Mentions("declined"));
  ExpectSpent(1);
}

}  // namespace
}  // namespace edgetune
