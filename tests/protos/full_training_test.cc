#include "protos/full_training.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/protos/refusals.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::ExpectRefused;
using ::testing::HasSubstr;

// A plan that trains all of a model of 24 parameters.
v1::TaskPlan FullPlan() {
  v1::TaskPlan plan = ValidPlan();
  v1::ModelSpec& model = *plan.mutable_model();
  *model.add_parts() = model.parts(0);
  model.mutable_parts(0)->set_name("config.json");
  model.mutable_parts(1)->set_name("model.safetensors");
  model.set_precision("fp32");
  v1::LoraSpec& lora = *plan.mutable_lora();
  const std::string digest = lora.initial_digest();
  lora.Clear();
  lora.set_rule("full");
  lora.set_initial_digest(digest);
  for (const auto& [name, shape] :
       {std::pair("conv1.weight", std::vector<int64_t>{2, 1, 3, 3}),
        std::pair("fc.weight", std::vector<int64_t>{2, 2}),
        std::pair("fc.bias", std::vector<int64_t>{2})}) {
    v1::LayoutTensor* tensor = lora.add_layout();
    tensor->set_name(name);
    tensor->mutable_shape()->Assign(shape.begin(), shape.end());
  }
  plan.mutable_data()->set_schema("image");
  plan.mutable_data()->set_max_length(1);
  plan.mutable_train()->set_engine("reference");
  plan.mutable_train()->set_memory_budget(0);
  return plan;
}

TEST(FullTrainingTest, AcceptsAPlanThatTrainsAllParameters) {
  EXPECT_TRUE(CheckPlan(FullPlan()).ok()) << CheckPlan(FullPlan());
  EXPECT_TRUE(TrainsAll(FullPlan()));
  EXPECT_FALSE(TrainsAll(ValidPlan()));
}

TEST(FullTrainingTest, AcceptsPartsByName) {
  v1::TaskPlan plan = FullPlan();
  plan.mutable_lora()->add_targets("fc");
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

TEST(FullTrainingTest, EveryRoundSendsAllParameters) {
  for (const uint32_t round : {0, 1, 2}) {
    const auto layout = UpdateLayout(FullPlan(), round);
    ASSERT_TRUE(layout.ok()) << layout.status();
    EXPECT_EQ(layout->size(), 24);
  }
}

TEST(FullTrainingTest, TakesTheOtherObjectivesAndMasking) {
  v1::TaskPlan plan = FullPlan();
  UseScaffold(plan, 20);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  plan = FullPlan();
  *plan.mutable_secagg() = MaskedPlan().secagg();
  *plan.mutable_rounds() = MaskedPlan().rounds();
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

TEST(FullTrainingTest, RefusesWhatDoesNotGoWithIt) {
  ExpectRefused(
      FullPlan(),
      {
          {"lora.rank", [](auto& p) { p.mutable_lora()->set_rank(4); }},
          {"lora.alpha", [](auto& p) { p.mutable_lora()->set_alpha(4); }},
          {"lora.targets[1]",
           [](auto& p) {
             p.mutable_lora()->add_targets("fc");
             p.mutable_lora()->add_targets("");
           }},
          {"lora.targets[0]",
           [](auto& p) {
             p.mutable_lora()->add_targets(std::string(201, 'f'));
           }},
          {"lora.targets",
           [](auto& p) {
             for (int i = 0; i < 1001; ++i) {
               p.mutable_lora()->add_targets("fc");
             }
           }},
          {"lora.layout", [](auto& p) { p.mutable_lora()->clear_layout(); }},
          {"lora.layout",
           [](auto& p) {
             p.mutable_lora()->mutable_layout(1)->set_name("fc.bias");
           }},
          {"lora.layout",
           [](auto& p) {
             p.mutable_lora()->mutable_layout(1)->set_shape(0, 0);
           }},
          {"lora.layout[0].name",
           [](auto& p) { p.mutable_lora()->mutable_layout(0)->clear_name(); }},
          {"lora.initial_digest",
           [](auto& p) { p.mutable_lora()->clear_initial_digest(); }},
          {"data.schema",
           [](auto& p) { p.mutable_data()->set_schema("auto"); }},
          {"data.max_length",
           [](auto& p) { p.mutable_data()->set_max_length(2); }},
          {"data.holdout", [](auto& p) { p.mutable_data()->set_holdout(0.6); }},
          {"train.engine",
           [](auto& p) { p.mutable_train()->set_engine("auto"); }},
          {"train.memory_budget",
           [](auto& p) {
             p.mutable_train()->set_memory_budget(1'000'000'000);
           }},
          {"model.precision",
           [](auto& p) { p.mutable_model()->set_precision("bf16"); }},
          {"model.parts", [](auto& p) { p.mutable_model()->add_parts(); }},
          {"model.parts",
           [](auto& p) {
             p.mutable_model()->mutable_parts(0)->set_name("model.gguf");
           }},
          {"model.parts[1].sha256",
           [](auto& p) {
             p.mutable_model()->mutable_parts(1)->clear_sha256();
           }},
          {"model.parts[1].size",
           [](auto& p) { p.mutable_model()->mutable_parts(1)->clear_size(); }},
      });
}

TEST(FullTrainingTest, ImagesNeedTheRuleAndTheRuleImages) {
  v1::TaskPlan texts = ValidPlan();
  texts.mutable_data()->set_schema("image");
  EXPECT_THAT(CheckPlan(texts).ToString(), HasSubstr("lora.rule = \"full\""));
  v1::TaskPlan full = ValidPlan();
  full.mutable_lora()->set_rule("full");
  EXPECT_THAT(CheckPlan(full).ToString(), HasSubstr("model.parts"));
}

}  // namespace
}  // namespace edgetune
