// A client that is stopped, paused or killed while it trains.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "client/assignment.h"
#include "client/checkpoint_file.h"
#include "tests/client/client_world.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using testing::ClientWorld;

class ClientResumeTest : public ClientWorld {
 protected:
  static constexpr int kSteps = 10;

  void SetUp() override {
    ClientWorld::SetUp();
    run_.plan.mutable_train()->set_steps(kSteps);
    file_.train.checkpoint_every = absl::Seconds(1);  // a step of FakeEngine
    path_ = CheckpointFile::PathIn(scratch_.path());
  }

  bool IsThere() const { return fs::exists(path_); }
  std::string Bytes() const { return *ReadFile(path_); }

  // The update of an uninterrupted client, whose steps are not counted.
  std::string UninterruptedUpdate() {
    Start(/*once=*/true);
    Assign(Manifest(0));
    const v1::Report report = NextReport();
    const std::string update = transport_->uploads[report.update_digest()];
    Answer(report.session(), v1::Outcome::ACCEPTED);
    EXPECT_TRUE(Wait().ok());
    EXPECT_FALSE(IsThere());
    for (const char* name : {"client.db", "client.db-wal", "client.db-shm"}) {
      fs::remove(scratch_.File(name));
    }
    engine_.steps = 0;
    return update;
  }

  // Trains until step `step` is about to begin.
  void StopAt(int64_t step) {
    engine_.on_step = [this, step](int64_t at) {
      if (at == step) client_->RequestStop();
    };
    Start();
    Assign(Manifest(0));
    EXPECT_TRUE(Wait().ok());
    engine_.on_step = nullptr;
  }

  std::string path_;
};

TEST_F(ClientResumeTest, StoppedTrainingGoesOnWhereItWas) {
  const std::string whole = UninterruptedUpdate();
  StopAt(4);
  EXPECT_EQ(engine_.steps, 4);
  EXPECT_TRUE(IsThere());
  engine_.on_evaluate = [] { ADD_FAILURE() << "evaluated twice"; };
  Start();
  EXPECT_TRUE(NextHello().has_resume());
  const v1::Report report = NextReport();
  EXPECT_GT(report.nll_sum(), 0);
  EXPECT_GT(report.tokens(), 0u);
  EXPECT_EQ(engine_.steps, kSteps) << "no step twice";
  EXPECT_EQ(transport_->uploads[report.update_digest()], whole);
  EXPECT_FALSE(IsThere());
}

TEST_F(ClientResumeTest, KilledTrainingGoesOnFromItsLastCheckpoint) {
  const std::string whole = UninterruptedUpdate();
  std::string at_three;
  engine_.on_step = [&](int64_t step) {
    if (step == 3) at_three = Bytes();
    if (step == 5) client_->RequestStop();
  };
  Start();
  Assign(Manifest(0));
  EXPECT_TRUE(Wait().ok());
  engine_.on_step = nullptr;
  // As if it had been killed then: the state is what lay there after step 3,
  // and half of the next save.
  std::ofstream(path_, std::ios::binary) << at_three;
  std::ofstream(path_ + ".part123456") << at_three.substr(0, 40);
  engine_.steps = 0;
  Start();
  const v1::Report report = NextReport();
  EXPECT_EQ(engine_.steps, kSteps - 3);
  EXPECT_EQ(transport_->uploads[report.update_digest()], whole);
  EXPECT_FALSE(fs::exists(path_ + ".part123456"));
  // It has contributed: asked for the same round again, it declines.
  Answer(report.session(), v1::Outcome::ACCEPTED);
  Assign(Manifest(0));
  EXPECT_EQ(NextDeclined().reason(), v1::Declined::REFUSED);
  EXPECT_EQ(engine_.steps, kSteps - 3);
}

TEST_F(ClientResumeTest, EndOfTheSessionRemovesTheCheckpoint) {
  StopAt(4);
  Start();
  NextHello();
  Answer(KeyOf(ClaimedId(MakeAssignment(run_.plan, Manifest(0), keys_))),
         v1::Outcome::LATE);
  EXPECT_FALSE(NextHello().has_resume());
  EXPECT_FALSE(IsThere());
}

TEST_F(ClientResumeTest, AnotherAssignmentRemovesTheCheckpoint) {
  StopAt(4);
  engine_.steps = 0;
  Start();
  NextHello();
  Assign(Manifest(1));
  EXPECT_EQ(NextReport().session().round(), 1u);
  EXPECT_EQ(engine_.steps, kSteps);
  EXPECT_FALSE(IsThere());
}

TEST_F(ClientResumeTest, TrainingThatItsPolicyPausedGoesOnInTheNextWindow) {
  const std::string whole = UninterruptedUpdate();
  const absl::CivilMinute now =
      absl::ToCivilMinute(absl::Now(), absl::LocalTimeZone());
  const int minute = now.hour() * 60 + now.minute();
  file_.policy.window =
      DailyWindow{(minute + 1430) % 1440, (minute + 20) % 1440};
  engine_.on_step = [this](int64_t step) {
    if (step < 4) return;
    if (step == 4) {
      clock_.minutes_ahead = 30;
      transport_->listener()->OnUp();  // wakes the client
      EXPECT_EQ(NextDeclined().reason(), v1::Declined::POLICY);
    }
    absl::SleepFor(absl::Milliseconds(20));
  };
  Start(/*once=*/true);
  Assign(Manifest(0));
  EXPECT_TRUE(Wait().ok());
  EXPECT_LT(engine_.steps, kSteps);
  EXPECT_TRUE(IsThere());
  engine_.on_step = nullptr;
  clock_.minutes_ahead = 0;
  Start();
  v1::RoundManifest again = Manifest(0);
  again.set_attempt(1);
  Assign(again);
  const v1::Report report = NextReport();
  EXPECT_EQ(engine_.steps, kSteps);
  EXPECT_EQ(transport_->uploads[report.update_digest()], whole);
  EXPECT_FALSE(IsThere());
}

TEST_F(ClientResumeTest, TrainingThatCannotBeSavedGoesOn) {
  // A directory with something in it is neither replaced nor removed.
  fs::create_directories(path_ + "/in the way");
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().update_digest().size(), 32u);
  EXPECT_EQ(engine_.steps, kSteps);
}

TEST_F(ClientResumeTest, SavesNothingWhereItIsToldSo) {
  file_.train.checkpoint_every = absl::ZeroDuration();
  StopAt(4);
  EXPECT_FALSE(IsThere());
  Start();
  NextReport();
  EXPECT_EQ(engine_.steps, 4 + kSteps);
}

}  // namespace
}  // namespace edgetune
