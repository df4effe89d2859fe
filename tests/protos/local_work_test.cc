#include "protos/local_work.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/protos/refusals.h"
#include "tests/testing/not_finite.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::ExpectRefused;
using ::testing::HasSubstr;
using testing::kNaN;
using testing::PlanChange;
using testing::Refusal;

v1::TrainSpec& TrainOf(v1::TaskPlan& plan) { return *plan.mutable_train(); }
v1::RoundsSpec& RoundsOf(v1::TaskPlan& plan) { return *plan.mutable_rounds(); }

// Epochs of plain SGD: what rounds.normalise wants.
v1::TaskPlan SgdPlan() {
  v1::TaskPlan plan = ValidPlan();
  TrainOf(plan).clear_steps();
  TrainOf(plan).set_epochs(2);
  TrainOf(plan).set_optimizer("sgd");
  TrainOf(plan).set_schedule("constant");
  TrainOf(plan).clear_warmup();
  return plan;
}

void ExpectAccepted(v1::TaskPlan plan, const PlanChange& change) {
  change(plan);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

TEST(LocalWorkTest, DefaultsMayBeNamedOrLeftOut) {
  ExpectAccepted(ValidPlan(), [](auto&) {});
  ExpectAccepted(ValidPlan(), [](auto& p) {
    TrainOf(p).set_optimizer("adamw");
    TrainOf(p).set_objective("plain");
    RoundsOf(p).set_normalise("none");
  });
}

TEST(LocalWorkTest, WhatIsBuiltIsAccepted) {
  ExpectAccepted(SgdPlan(), [](auto& p) { TrainOf(p).set_momentum(0.9); });
  ExpectAccepted(ValidPlan(), [](auto& p) {
    TrainOf(p).set_objective("prox");
    TrainOf(p).set_prox_mu(0.1);
  });
  ExpectAccepted(SgdPlan(),
                 [](auto& p) { RoundsOf(p).set_normalise("steps"); });
  ExpectAccepted(SgdPlan(), [](auto& p) {
    RoundsOf(p).set_normalise("steps");
    TrainOf(p).set_momentum(0.9);
  });
  ExpectAccepted(SgdPlan(), [](auto& p) { RoundsOf(p).set_fairness_q(2); });
}

// Nothing that masking hides is needed for these.
TEST(LocalWorkTest, EpochsSgdAndProxMayBeMasked) {
  ExpectAccepted(MaskedPlan(), [](auto& p) {
    TrainOf(p).clear_steps();
    TrainOf(p).set_epochs(3);
    TrainOf(p).set_warmup(1);
    TrainOf(p).set_optimizer("sgd");
    TrainOf(p).set_objective("prox");
    TrainOf(p).set_prox_mu(0.1);
  });
}

TEST(LocalWorkTest, ARoundIsStepsOrEpochs) {
  ExpectRefused(SgdPlan(),
                {{"train.steps is 1, wanted 0 beside train.epochs = 2",
                  [](auto& p) { TrainOf(p).set_steps(1); }},
                 {"train.steps is 0, wanted 1 to 100000",
                  [](auto& p) { TrainOf(p).clear_epochs(); }},
                 {"train.epochs is 1001, wanted 1 to 1000",
                  [](auto& p) { TrainOf(p).set_epochs(1001); }},
                 {"train.warmup is 7, wanted 0 to 6",  // 3 rounds of 2 passes
                  [](auto& p) { TrainOf(p).set_warmup(7); }}});
  ExpectRefused(ValidPlan(), {{"train.steps is 100001",
                               [](auto& p) { TrainOf(p).set_steps(100001); }}});
}

TEST(LocalWorkTest, OptimizersTakeTheirOwnSettingsOnly) {
  ExpectRefused(
      SgdPlan(),
      {{"train.optimizer is \"lion\"; wanted adamw or sgd",
        [](auto& p) { TrainOf(p).set_optimizer("lion"); }},
       {"train.momentum", [](auto& p) { TrainOf(p).set_momentum(1); }},
       {"train.momentum", [](auto& p) { TrainOf(p).set_momentum(-0.1); }},
       {"train.momentum",
        [](auto& p) { TrainOf(p).set_momentum(kNaN<double>); }}});
  ExpectRefused(ValidPlan(), {{"train.momentum is 0.9, wanted 0 with the "
                               "optimiser adamw",
                               [](auto& p) { TrainOf(p).set_momentum(0.9); }}});
}

TEST(LocalWorkTest, ObjectivesTakeTheirOwnSettingsOnly) {
  ExpectRefused(
      ValidPlan(),
      {{"train.objective is \"ditto\"; wanted",
        [](auto& p) { TrainOf(p).set_objective("ditto"); }},
       {"train.prox_mu is 0.5, wanted 0 unless train.objective is \"prox\"",
        [](auto& p) { TrainOf(p).set_prox_mu(0.5); }},
       {"train.prox_mu is nan",
        [](auto& p) { TrainOf(p).set_prox_mu(kNaN<double>); }},
       {"train.prox_mu is 0, wanted more than 0",
        [](auto& p) { TrainOf(p).set_objective("prox"); }},
       {"train.prox_mu is -1, wanted more than 0", [](auto& p) {
          TrainOf(p).set_objective("prox");
          TrainOf(p).set_prox_mu(-1);
        }}});
}

TEST(LocalWorkTest, TeachersAreAskedWithAllOfTheirSettings) {
  const auto teach = [](v1::TaskPlan& p) {
    TrainOf(p).set_teacher_alpha(0.5);
    TrainOf(p).set_teacher_temperature(2);
    TrainOf(p).set_teacher_top_k(16);
  };
  v1::TaskPlan plan = ValidPlan();
  teach(plan);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  ExpectRefused(plan,
                {{"train.teacher_alpha",
                  [](auto& p) { TrainOf(p).set_teacher_alpha(1.1); }},
                 {"train.teacher_alpha",
                  [](auto& p) { TrainOf(p).set_teacher_alpha(kNaN<double>); }},
                 {"train.teacher_alpha",
                  [](auto& p) { TrainOf(p).set_teacher_alpha(-0.1); }},
                 {"train.teacher_temperature",
                  [](auto& p) { TrainOf(p).set_teacher_temperature(0); }},
                 {"train.teacher_temperature",
                  [](auto& p) { TrainOf(p).set_teacher_temperature(1000); }},
                 {"train.teacher_top_k",
                  [](auto& p) { TrainOf(p).set_teacher_top_k(0); }},
                 {"train.teacher_top_k",
                  [](auto& p) { TrainOf(p).set_teacher_top_k(1u << 30); }},
                 {"train.teacher_temperature is 2, wanted 0 unless",
                  [](auto& p) { TrainOf(p).set_teacher_alpha(0); }},
                 {"train.teacher_top_k is 16, wanted 0 unless", [](auto& p) {
                    TrainOf(p).set_teacher_alpha(0);
                    TrainOf(p).set_teacher_temperature(0);
                  }}});
}

v1::TaskPlan ScaffoldPlan() {
  v1::TaskPlan plan = ValidPlan();
  UseScaffold(plan, 10);
  return plan;
}

TEST(LocalWorkTest, ScaffoldIsAcceptedInTheClearAndMasked) {
  ExpectAccepted(ScaffoldPlan(), [](auto&) {});
  ExpectAccepted(ScaffoldPlan(), [](auto& p) {
    p.mutable_lora()->set_rule("ffa");
    p.mutable_fleet()->set_devices(4);  // the cohort
    TrainOf(p).set_weight_decay(0.1);   // a term of the loss
    RoundsOf(p).set_server_optimizer("momentum");
  });
  ExpectAccepted(MaskedPlan(), [](auto& p) { UseScaffold(p, 100); });
}

TEST(LocalWorkTest, NotesSayWhatScaffoldMoves) {
  EXPECT_TRUE(PlanNotes(ValidPlan()).empty());
  const auto notes = PlanNotes(ScaffoldPlan());
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes[0], HasSubstr("control variates: 224 B more down"));
}

TEST(LocalWorkTest, ScaffoldNeedsStepsThatAnUpdateIsTheSumOf) {
  const std::string got = "train.objective is \"scaffold\", wanted ";
  ExpectRefused(ScaffoldPlan(),
                {{got + "train.optimizer = \"sgd\"",
                  [](auto& p) { TrainOf(p).set_optimizer("adamw"); }},
                 {got + "train.optimizer = \"sgd\"",
                  [](auto& p) { TrainOf(p).clear_optimizer(); }},
                 {got + "train.optimizer = \"sgd\" without momentum",
                  [](auto& p) { TrainOf(p).set_momentum(0.9); }},
                 {got + "train.schedule = \"constant\"",
                  [](auto& p) { TrainOf(p).set_schedule("cosine"); }},
                 {got + "train.schedule = \"constant\" without warm-up",
                  [](auto& p) { TrainOf(p).set_warmup(1); }},
                 {got + "train.steps beside it, not train.epochs",
                  [](auto& p) {
                    TrainOf(p).clear_steps();
                    TrainOf(p).set_epochs(2);
                  }},
                 {got + "train.grad_clip = 0",
                  [](auto& p) { TrainOf(p).set_grad_clip(1); }},
                 {got + "lora.rule = \"fedit\", \"ffa\" or \"full\"",
                  [](auto& p) { p.mutable_lora()->set_rule("rolora"); }},
                 {got + "lora.rule = \"fedit\", \"ffa\" or \"full\"",
                  [](auto& p) { p.mutable_lora()->set_rule("fedsa"); }},
                 {"train.prox_mu is 0.1, wanted 0 unless",
                  [](auto& p) { TrainOf(p).set_prox_mu(0.1); }}});
}

TEST(LocalWorkTest, ScaffoldNeedsThePlainMeanAndTheNumberOfDevices) {
  const std::string got = "train.objective is \"scaffold\", wanted ";
  ExpectRefused(ScaffoldPlan(),
                {{got + "rounds.aggregator = \"mean\"",
                  [](auto& p) { RoundsOf(p).set_aggregator("median"); }},
                 {got + "rounds.aggregator = \"mean\"",
                  [](auto& p) {
                    RoundsOf(p).set_aggregator("norm_bound");
                    RoundsOf(p).set_norm_bound(1);
                  }},
                 {got + "rounds.weights = \"equal\"",
                  [](auto& p) { RoundsOf(p).set_weights("examples"); }},
                 {got + "rounds.fairness_q = 0",
                  [](auto& p) { RoundsOf(p).set_fairness_q(1); }},
                 {"rounds.normalise is \"steps\", wanted train.epochs",
                  [](auto& p) { RoundsOf(p).set_normalise("steps"); }},
                 {"fleet.devices is 0, wanted 4 to 1000000",
                  [](auto& p) { p.mutable_fleet()->clear_devices(); }},
                 {"fleet.devices is 3, wanted 4",
                  [](auto& p) { p.mutable_fleet()->set_devices(3); }},
                 {"fleet.devices is 5, wanted 6",  // all that are asked
                  [](auto& p) {
                    RoundsOf(p).set_over_select(1.5);
                    p.mutable_fleet()->set_devices(5);
                  }}});
  ExpectRefused(ValidPlan(),
                {{"fleet.devices is 4, wanted 0 unless train.objective",
                  [](auto& p) { p.mutable_fleet()->set_devices(4); }}});
}

// The change, on top of normalise = "steps".
Refusal Steps(std::string says, const PlanChange& change) {
  return {std::move(says), [change](v1::TaskPlan& plan) {
            RoundsOf(plan).set_normalise("steps");
            change(plan);
          }};
}

TEST(LocalWorkTest, NormaliseNeedsWhatItsTheoryCovers) {
  const std::string got = "rounds.normalise is \"steps\", wanted ";
  ExpectRefused(SgdPlan(),
                {{"rounds.normalise is \"loss\"; wanted none or steps",
                  [](auto& p) { RoundsOf(p).set_normalise("loss"); }},
                 Steps(got + "train.epochs beside it",
                       [](auto& p) {
                         TrainOf(p).clear_epochs();
                         TrainOf(p).set_steps(4);
                       }),
                 Steps(got + "train.optimizer = \"sgd\" beside it: its theory",
                       [](auto& p) { TrainOf(p).set_optimizer("adamw"); }),
                 Steps(got + "train.schedule = \"constant\"",
                       [](auto& p) { TrainOf(p).set_schedule("cosine"); }),
                 Steps(got + "train.schedule = \"constant\" without warm-up",
                       [](auto& p) { TrainOf(p).set_warmup(1); }),
                 Steps(got + "momentum or the objective prox",
                       [](auto& p) {
                         TrainOf(p).set_momentum(0.5);
                         TrainOf(p).set_objective("prox");
                         TrainOf(p).set_prox_mu(0.1);
                       }),
                 Steps(got + "lr * prox_mu below 1", [](auto& p) {
                   TrainOf(p).set_objective("prox");
                   TrainOf(p).set_prox_mu(1 / TrainOf(p).lr());
                 })});
}

TEST(LocalWorkTest, FairnessNeedsWhatItsTheoryCovers) {
  const std::string got = "rounds.fairness_q is 2, wanted ";
  ExpectRefused(SgdPlan(),
                {{"rounds.fairness_q is 21",
                  [](auto& p) { RoundsOf(p).set_fairness_q(21); }},
                 {"rounds.fairness_q is -1",
                  [](auto& p) { RoundsOf(p).set_fairness_q(-1); }},
                 {"rounds.fairness_q is nan",
                  [](auto& p) { RoundsOf(p).set_fairness_q(kNaN<double>); }},
                 {got + "train.optimizer = \"sgd\"",
                  [](auto& p) {
                    RoundsOf(p).set_fairness_q(2);
                    TrainOf(p).clear_optimizer();
                  }},
                 {got + "0 beside rounds.normalise = \"steps\"", [](auto& p) {
                    RoundsOf(p).set_fairness_q(2);
                    RoundsOf(p).set_normalise("steps");
                  }}});
}

TEST(LocalWorkTest, MaskingHidesWhatBothNeed) {
  v1::TaskPlan plan = MaskedPlan();
  *plan.mutable_train() = SgdPlan().train();
  const std::string masked =
      "wanted secagg.enabled = false beside it: it needs";
  ExpectRefused(plan, {{"rounds.normalise is \"steps\", " + masked,
                        [](auto& p) { RoundsOf(p).set_normalise("steps"); }},
                       {"rounds.fairness_q is 1, " + masked,
                        [](auto& p) { RoundsOf(p).set_fairness_q(1); }}});
}

TEST(LocalWorkTest, StepsOfEpochsAreCountedOverAllPasses) {
  v1::TrainSpec train;
  train.set_batch(8);
  train.set_steps(6);
  EXPECT_EQ(StepsOf(train, 1000), 6u);
  train.set_steps(0);
  train.set_epochs(3);
  EXPECT_EQ(StepsOf(train, 1), 1u);
  EXPECT_EQ(StepsOf(train, 8), 3u);
  EXPECT_EQ(StepsOf(train, 9), 4u);  // 27 examples: 8, 8, 8, 3
  EXPECT_EQ(StepsOf(train, 1'000'000), 375'000u);
}

}  // namespace
}  // namespace edgetune
