// A whole client against a scripted coordinator: sessions from assignment to
// report, cut off and taken up again.

#include "client/client.h"

#include <atomic>
#include <string>

#include "absl/time/clock.h"
#include "client/assignment.h"
#include "tests/client/client_world.h"

namespace edgetune {
namespace {

using testing::MakeAssignment;
using ClientTest = testing::ClientWorld;

TEST_F(ClientTest, TrainingSessionEndsInAReportOfTheUploadedUpdate) {
  Start();
  EXPECT_EQ(NextHello().population(), "default");
  Assign(Manifest(0));
  const v1::Report report = NextReport();
  EXPECT_EQ(report.weight(), 6);  // 8 examples, a quarter held out
  EXPECT_GT(report.tokens(), 0u);
  EXPECT_GT(report.nll_sum(), 0);
  EXPECT_EQ(report.base_bytes_down(), run_.plan.model().parts(0).size());
  EXPECT_EQ(report.adapter_bytes_down(), run_.adapter_blob.size());
  const std::string update = transport_->uploads[report.update_digest()];
  EXPECT_EQ(update.size(), run_.adapter_blob.size());
  EXPECT_EQ(Sha256Bytes(update), report.update_digest());
  Answer(report.session(), v1::Outcome::ACCEPTED);
  EXPECT_FALSE(NextHello().has_resume());
}

TEST_F(ClientTest, WeightIsHeldUnderTheCap) {
  run_.plan.mutable_rounds()->set_weight_cap(4);
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().weight(), 4);
}

TEST_F(ClientTest, StepsAreReportedWhereThePlanSaysEpochs) {
  Start();
  Assign(Manifest(0));
  const v1::Report report = NextReport();
  EXPECT_EQ(report.train_steps(), 0u);
  EndSession(report);
  run_.plan.mutable_train()->clear_steps();
  run_.plan.mutable_train()->set_epochs(5);
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().train_steps(), 15u);  // 5 passes over 6 in twos
  Assign(Manifest(3));
  EXPECT_EQ(NextReport().train_steps(), 0u);
}

TEST_F(ClientTest, EpochsThatAreTooManyStepsAreDeclinedAndTheClientGoesOn) {
  file_ = testing::MakeClientFile(scratch_.path(), "many", 300);
  run_.plan.mutable_train()->clear_steps();
  run_.plan.mutable_train()->set_epochs(1000);
  Start();
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::REFUSED);
  EXPECT_NE(declined.detail().find("more than the 100000 steps of 2"),
            std::string::npos)
      << declined.detail();
  // 300 examples, a quarter held out: nobody's business.
  EXPECT_EQ(declined.detail().find("225"), std::string::npos);
  EXPECT_EQ(engine_.trainings, 0);
  run_.plan.mutable_train()->set_epochs(1);
  run_.plan.set_nonce(std::string(32, 'n'));
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().train_steps(), 113u);
}

TEST_F(ClientTest, LossOnTrainingExamplesIsReportedWhereThePlanAsksForIt) {
  std::atomic<int> evaluations{0};
  engine_.on_evaluate = [&] { ++evaluations; };
  run_.plan.mutable_train()->set_optimizer("sgd");
  Start();
  Assign(Manifest(0));
  const v1::Report unasked = NextReport();
  EXPECT_EQ(unasked.incoming_loss(), 0);
  EXPECT_EQ(evaluations, 1);
  EndSession(unasked);
  run_.plan.mutable_rounds()->set_fairness_q(1);
  Start();
  Assign(Manifest(0));
  const v1::Report report = NextReport();
  // The fake's loss a token is the same on all examples.
  EXPECT_NEAR(report.incoming_loss(), report.nll_sum() / report.tokens(),
              1e-12);
  EXPECT_EQ(evaluations, 3);
  Assign(Manifest(3));
  EXPECT_EQ(NextReport().incoming_loss(), 0);
  EXPECT_EQ(evaluations, 4);
}

// A device without held-out examples is weighed all the same.
TEST_F(ClientTest, LossOnTrainingExamplesNeedsNothingHeldOut) {
  run_.plan.mutable_data()->set_holdout(0);
  run_.plan.mutable_train()->set_optimizer("sgd");
  run_.plan.mutable_rounds()->set_fairness_q(1);
  Start();
  Assign(Manifest(0));
  const v1::Report report = NextReport();
  EXPECT_GT(report.incoming_loss(), 0);
  EXPECT_EQ(report.tokens(), 0u);
}

TEST_F(ClientTest, EvaluationSessionSendsNoUpdate) {
  Start();
  Assign(Manifest(3));
  const v1::Report report = NextReport();
  EXPECT_TRUE(report.update_digest().empty());
  EXPECT_EQ(report.weight(), 0);
  EXPECT_GT(report.tokens(), 0u);
  EXPECT_EQ(engine_.trainings, 0);
}

TEST_F(ClientTest, HeldOutFileOverridesTheShare) {
  file_.data.heldout = testing::WriteChatData(scratch_.path(), "other", 3);
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().weight(), 8);
}

TEST_F(ClientTest, RoundThatWasDoneIsNotDoneAgainEvenAfterARestart) {
  Start();
  NextHello();
  Assign(Manifest(1));
  Answer(NextReport().session(), v1::Outcome::ACCEPTED);
  NextHello();
  Assign(Manifest(1));
  EXPECT_NE(NextDeclined().detail().find("replay"), std::string::npos);
  ASSERT_TRUE(Stop().ok());
  Start();
  NextHello();
  Assign(Manifest(0));
  EXPECT_NE(NextDeclined().detail().find("replay"), std::string::npos);
  EXPECT_EQ(engine_.trainings, 1);
  v1::RoundManifest again = Manifest(1);
  again.set_attempt(1);
  Assign(again);
  EXPECT_EQ(NextReport().session().attempt(), 1u);
}

TEST_F(ClientTest, TrainedUpdateIsRepeatedNotTrainedAgainAfterARestart) {
  Start();
  Assign(Manifest(0));
  const v1::Report first = NextReport();
  ASSERT_TRUE(Stop().ok());  // the outcome never came
  Start();
  EXPECT_EQ(IdOf(NextHello().resume()), IdOf(first.session()));
  const v1::Report second = NextReport();
  EXPECT_EQ(second.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(transport_->uploads.size(), 1u);
  EXPECT_EQ(engine_.trainings, 1);
}

TEST_F(ClientTest, SessionStoppedWhileTrainingIsBegunAgainAfterARestart) {
  engine_.on_step = [this](int64_t step) {
    if (step == 1) client_->RequestStop();
  };
  Start();
  Assign(Manifest(0));
  EXPECT_TRUE(Wait().ok());
  engine_.on_step = nullptr;
  Start();
  EXPECT_TRUE(NextHello().has_resume());
  const v1::Report report = NextReport();
  EXPECT_EQ(report.base_bytes_down(), 0u);
  EXPECT_EQ(engine_.trainings, 2);
}

TEST_F(ClientTest, SessionStoppedWhileEvaluatingIsBegunAgainAfterARestart) {
  engine_.on_evaluate = [this] { client_->RequestStop(); };
  Start();
  Assign(Manifest(0));
  EXPECT_TRUE(Wait().ok());
  EXPECT_EQ(engine_.trainings, 0);
  engine_.on_evaluate = nullptr;
  Start();
  EXPECT_TRUE(NextHello().has_resume());
  EXPECT_GT(NextReport().tokens(), 0u);
}

TEST_F(ClientTest, CancelledSessionStopsTrainingAndAsksForWork) {
  engine_.on_step = [this](int64_t step) {
    if (step == 1) {
      Answer(KeyOf(ClaimedId(MakeAssignment(run_.plan, Manifest(0), keys_))),
             v1::Outcome::CANCELLED);
    }
    absl::SleepFor(absl::Milliseconds(1));
  };
  run_.plan.mutable_train()->set_steps(100000);
  Start();
  NextHello();
  Assign(Manifest(0));
  EXPECT_FALSE(NextHello().has_resume());
  EXPECT_TRUE(transport_->uploads.empty());
}

TEST_F(ClientTest, ReconnectInTheMiddleResumesAndTrainsOnce) {
  engine_.on_step = [this](int64_t step) {
    if (step != 1) return;
    transport_->listener()->OnDown(absl::UnavailableError("cut"));
    transport_->listener()->OnUp();
  };
  Start();
  EXPECT_FALSE(NextHello().has_resume());
  Assign(Manifest(0));
  EXPECT_TRUE(NextHello().has_resume());
  NextReport();
  EXPECT_EQ(engine_.trainings, 1);
}

TEST_F(ClientTest, RepeatedReportIsTheSameAfterAReconnect) {
  Start();
  Assign(Manifest(0));
  const v1::Report first = NextReport();
  transport_->listener()->OnUp();
  EXPECT_EQ(NextReport().SerializeAsString(), first.SerializeAsString());
}

}  // namespace
}  // namespace edgetune
