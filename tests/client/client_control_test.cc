// When a device's control variate moves (objective scaffold): exactly when the
// coordinator says that its update is in the adapter, whatever the outcome was
// and whenever the client was stopped.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <string>

#include "client/own_vector_store.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "tests/client/client_world.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::ClientWorld;
using testing::MakeAssignment;

class ClientControlTest : public ClientWorld {
 protected:
  void SetUp() override {
    ClientWorld::SetUp();
    UseScaffold(run_.plan, 4);
    size_ = UpdateLayout(run_.plan, 0)->size();
  }

  // A round whose server's variate is `server` everywhere.
  v1::Assignment Round(uint32_t round, float server,
                       const std::optional<v1::SessionKey>& counted,
                       uint32_t attempt = 0) {
    const std::string blob =
        SerializeParameters(ParameterVector(size_, server));
    transport_->served[Sha256Bytes(blob)] = blob;
    v1::RoundManifest manifest = Manifest(round);
    manifest.set_attempt(attempt);
    manifest.set_control_digest(Sha256Bytes(blob));
    v1::Assignment assignment = MakeAssignment(run_.plan, manifest, keys_);
    if (counted.has_value()) *assignment.mutable_counted() = *counted;
    return assignment;
  }

  // c_i+ of a training with this report, whose correction was `correction`.
  ParameterVector NextOwn(const v1::Report& report, float correction) {
    const std::string& bytes = transport_->uploads[report.update_digest()];
    const ParameterVector delta = *ParseParameters(
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, size_);
    ParameterVector own(size_);
    for (size_t i = 0; i < size_; ++i) {
      own[i] = static_cast<float>(-double{correction} -
                                  delta[i] / ControlWay(run_.plan.train()));
    }
    return own;
  }
  // What the last training was corrected by: `server` less `own`.
  void ExpectOwn(float server, const ParameterVector& own) {
    const ParameterVector correction = engine_.last_correction();
    ASSERT_EQ(correction.size(), size_);
    for (size_t i = 0; i < size_; ++i) {
      EXPECT_FLOAT_EQ(correction[i], server - own[i]);
    }
  }
  ParameterVector Zeros() const { return ParameterVector(size_); }

  size_t size_ = 0;
};

TEST_F(ClientControlTest, WhatIsCountedMovesIt) {
  Start();
  Assign(Round(0, 0.5f, std::nullopt));
  const v1::Report first = NextReport();
  ExpectOwn(0.5f, Zeros());
  Answer(first.session(), v1::Outcome::ACCEPTED);
  Assign(Round(1, -1, first.session()));
  const v1::Report second = NextReport();
  ExpectOwn(-1, NextOwn(first, 0.5f));
}

TEST_F(ClientControlTest, UpdatesThatDoNotCountLeaveItAlone) {
  Start();
  uint32_t attempt = 0;
  // Accepted: but the attempt was abandoned.
  for (const v1::Outcome::Result result :
       {v1::Outcome::REFUSED, v1::Outcome::LATE, v1::Outcome::CANCELLED,
        v1::Outcome::ACCEPTED}) {
    Assign(Round(0, 0.5f, std::nullopt, attempt++));
    const v1::Report report = NextReport();
    ExpectOwn(0.5f, Zeros());
    Answer(report.session(), result);
  }
  EXPECT_EQ(engine_.trainings, 4);
}

TEST_F(ClientControlTest, AnAbandonedAttemptIsForgottenForTheNext) {
  Start();
  Assign(Round(0, 0.5f, std::nullopt, 0));
  const v1::Report lost = NextReport();
  Answer(lost.session(), v1::Outcome::ACCEPTED);
  Assign(Round(0, 0.25f, std::nullopt, 1));
  const v1::Report counted = NextReport();
  ExpectOwn(0.25f, Zeros());
  Answer(counted.session(), v1::Outcome::ACCEPTED);
  Assign(Round(1, 0, counted.session()));
  NextReport();
  ExpectOwn(0, NextOwn(counted, 0.25f));
}

// An outcome that never came changes nothing: the next assignment tells.
TEST_F(ClientControlTest, StoppedAfterItsReportItMovesOnce) {
  Start();
  Assign(Round(0, 0.5f, std::nullopt));
  const v1::Report before = NextReport();
  const ParameterVector own = NextOwn(before, 0.5f);
  ASSERT_TRUE(Stop().ok());
  Start();
  const v1::Report again = NextReport();
  EXPECT_EQ(again.SerializeAsString(), before.SerializeAsString());
  EXPECT_EQ(engine_.trainings, 1);
  Assign(Round(1, 1, again.session()));
  NextReport();
  ExpectOwn(1, own);
}

TEST_F(ClientControlTest, StoppedWhileItTrainsItTrainsWithTheSame) {
  Start();
  Assign(Round(0, 0.5f, std::nullopt));
  const v1::Report first = NextReport();
  const ParameterVector own = NextOwn(first, 0.5f);
  Answer(first.session(), v1::Outcome::ACCEPTED);
  engine_.on_step = [this](int64_t step) {
    if (step == 1) client_->RequestStop();
  };
  Assign(Round(1, -1, first.session()));
  ASSERT_TRUE(Wait().ok());
  ExpectOwn(-1, own);
  engine_.on_step = nullptr;
  engine_.SetCorrection({});
  Start();
  NextReport();  // what it fetched is still there
  ExpectOwn(-1, own);
}

TEST_F(ClientControlTest, TheClosingEvaluationForgetsIt) {
  Start();
  Assign(Round(0, 0.5f, std::nullopt));
  const v1::Report first = NextReport();
  Answer(first.session(), v1::Outcome::ACCEPTED);
  Assign(Round(1, 0, first.session()));
  const v1::Report second = NextReport();
  Answer(second.session(), v1::Outcome::ACCEPTED);
  v1::Assignment closing = MakeAssignment(run_.plan, Manifest(3), keys_);
  *closing.mutable_counted() = second.session();
  Assign(closing);
  NextReport();
  OwnVectorStore store(database_.get());
  EXPECT_TRUE(store.Read(first.session().run_id(), size_)->empty());
}

TEST_F(ClientControlTest, ASessionThatThisDeviceDoesNotKnowIsRefused) {
  Start();
  v1::Assignment assignment = Round(1, 0, std::nullopt);
  v1::SessionKey* counted = assignment.mutable_counted();
  counted->set_run_id(Sha256Bytes(assignment.plan().payload()));
  Assign(assignment);
  ExpectRefused("a device that lost its state cannot go on");
}

TEST_F(ClientControlTest, ACountedSessionMustBeAnEarlierOneOfTheRun) {
  Start();
  v1::Assignment assignment = Round(1, 0, std::nullopt);
  v1::SessionKey* counted = assignment.mutable_counted();
  counted->set_run_id(std::string(32, 'x'));
  Assign(assignment);
  ExpectRefused("counted is round 0 of run 78787878");
  counted->set_run_id(Sha256Bytes(assignment.plan().payload()));
  counted->set_round(1);
  Assign(assignment);
  ExpectRefused("wanted one before round 1");
}

TEST_F(ClientControlTest, AManifestWithoutItsControlIsRefused) {
  Start();
  Assign(Manifest(0));
  ExpectRefused("control_digest is empty, the plan's objective scaffold");
}

TEST_F(ClientControlTest, AControlOfAnotherObjectiveIsRefused) {
  run_.plan.mutable_train()->set_objective("plain");
  run_.plan.mutable_fleet()->clear_devices();
  Start();
  Assign(Round(0, 0, std::nullopt));
  ExpectRefused("control_digest is set, the plan's objective has none");
}

TEST_F(ClientControlTest, AControlOfAnotherLengthIsNoDigest) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.set_control_digest("short");
  Assign(manifest);
  ExpectRefused("control_digest");
  manifest = Manifest(3);
  manifest.set_control_digest(std::string(32, 'c'));
  Assign(manifest);
  ExpectRefused("nothing in an evaluation");
}

TEST_F(ClientControlTest, OtherBytesThanTheDigestAreRefused) {
  Start();
  const v1::Assignment assignment = Round(0, 0, std::nullopt);
  transport_->served[Sha256Bytes(SerializeParameters(Zeros()))][3] ^= 1;
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientControlTest, AControlThatIsNotFiniteIsRefused) {
  Start();
  Assign(Round(0, std::numeric_limits<float>::quiet_NaN(), std::nullopt));
  ExpectRefused("coordinate 0 of the server's control variate is not finite");
}

}  // namespace
}  // namespace edgetune
