#include "protos/plan_check.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/protos/refusals.h"
#include "tests/testing/not_finite.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::ExpectRefused;
using ::testing::HasSubstr;
using testing::kInf;
using testing::kNaN;
using testing::Message;
using testing::Refusal;

TEST(PlanCheckTest, AcceptsAValidPlanAndItsPayload) {
  EXPECT_TRUE(CheckPlan(ValidPlan()).ok()) << CheckPlan(ValidPlan());
  const auto parsed = ParsePlan(ValidPlan().SerializeAsString());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->SerializeAsString(), ValidPlan().SerializeAsString());
}

TEST(PlanCheckTest, RefusesBadHeadersNamesAndNonces) {
  ExpectRefused(
      ValidPlan(),
      {
          {"header.version", [](auto& p) { p.clear_header(); }},
          {"header.version",
           [](auto& p) { p.mutable_header()->set_version(2); }},
          {"header.issued_ms",
           [](auto& p) { p.mutable_header()->set_issued_ms(0); }},
          {"header.issued_ms",
           [](auto& p) { p.mutable_header()->set_issued_ms(-5); }},
          {"header.expires_ms",
           [](auto& p) {
             p.mutable_header()->set_expires_ms(p.header().issued_ms());
           }},
          {"nonce has 31 bytes",
           [](auto& p) { p.set_nonce(std::string(31, 1)); }},
          {"nonce", [](auto& p) { p.clear_nonce(); }},
          {"field name", [](auto& p) { p.set_name(std::string(101, 'x')); }},
          {"field name is \"a\\x1b[2J\"",
           [](auto& p) { p.set_name("a\x1b[2J"); }},
          {"field name", [](auto& p) { p.clear_name(); }},
      });
}

TEST(PlanCheckTest, CountsCharactersOfTheNameAndNotBytes) {
  v1::TaskPlan plan = ValidPlan();
  std::string name;
  for (int i = 0; i < 100; ++i) name += "é";
  plan.set_name(name);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

// The base as a directory of these files.
void SetParts(v1::TaskPlan& plan, std::vector<std::string> names) {
  const v1::FilePart one = plan.model().parts(0);
  plan.mutable_model()->clear_parts();
  for (const std::string& name : names) {
    v1::FilePart* part = plan.mutable_model()->add_parts();
    *part = one;
    part->set_name(name);
  }
}

TEST(PlanCheckTest, ABaseMayBeADirectory) {
  v1::TaskPlan plan = ValidPlan();
  SetParts(plan, {"config.json", "model-00001-of-00002.safetensors",
                  "model-00002-of-00002.safetensors",
                  "model.safetensors.index.json", "tokenizer.json"});
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  const auto refused = [](const char* field, std::vector<std::string> names) {
    return Refusal{field, [names](auto& p) { SetParts(p, names); }};
  };
  ExpectRefused(
      ValidPlan(),
      {refused("model.parts", {"config.json", "model.safetensors"}),
       refused("model.parts[0].name",
               {"../config.json", "config.json", "tokenizer.json"}),
       refused("model.parts[1].name",
               {"config.json", "a/b.safetensors", "tokenizer.json"}),
       refused("model.parts[2].name",
               {"config.json", "tokenizer.json", "model.safetensors"}),
       refused("model.parts[1].name",
               {"config.json", "config.json", "tokenizer.json"}),
       refused("model.parts[1].name",
               {"config.json", "pytorch_model.bin", "tokenizer.json"})});
}

TEST(PlanCheckTest, RefusesBadModels) {
  ExpectRefused(
      ValidPlan(),
      {
          {"model.name", [](auto& p) { p.mutable_model()->clear_name(); }},
          {"model.digest",
           [](auto& p) { p.mutable_model()->set_digest("short"); }},
          {"model.parts", [](auto& p) { p.mutable_model()->clear_parts(); }},
          {"model.parts",
           [](auto& p) {
             *p.mutable_model()->add_parts() = p.model().parts(0);
           }},
          {"model.parts[0].name",
           [](auto& p) {
             p.mutable_model()->mutable_parts(0)->set_name("../model.gguf");
           }},
          {"model.parts[0].size",
           [](auto& p) { p.mutable_model()->mutable_parts(0)->set_size(0); }},
          {"model.parts[0].sha256",
           [](auto& p) {
             p.mutable_model()->mutable_parts(0)->clear_sha256();
           }},
          {"model.precision",
           [](auto& p) { p.mutable_model()->set_precision("fp64"); }},
      });
}

TEST(PlanCheckTest, RefusesBadAdapters) {
  ExpectRefused(
      ValidPlan(),
      {
          {"lora.rank", [](auto& p) { p.mutable_lora()->set_rank(0); }},
          {"lora.rank", [](auto& p) { p.mutable_lora()->set_rank(1025); }},
          {"lora.alpha", [](auto& p) { p.mutable_lora()->set_alpha(0); }},
          {"lora.alpha",
           [](auto& p) { p.mutable_lora()->set_alpha(kNaN<double>); }},
          {"lora.alpha",
           [](auto& p) { p.mutable_lora()->set_alpha(kInf<double>); }},
          {"lora.targets", [](auto& p) { p.mutable_lora()->clear_targets(); }},
          {"lora.targets[1]",
           [](auto& p) { p.mutable_lora()->set_targets(1, "lm_head"); }},
          {"lora.targets[1]",
           [](auto& p) { p.mutable_lora()->set_targets(1, "q_proj"); }},
          {"lora.targets[1]",
           [](auto& p) {
             p.mutable_lora()->set_targets(0, "v_proj");
             p.mutable_lora()->set_targets(1, "q_proj");
           }},
          {"lora.rule", [](auto& p) { p.mutable_lora()->set_rule("magic"); }},
          {"lora.initial_digest",
           [](auto& p) { p.mutable_lora()->clear_initial_digest(); }},
      });
}

v1::LayoutTensor& Tensor(v1::TaskPlan& plan, int index) {
  return *plan.mutable_lora()->mutable_layout(index);
}

TEST(PlanCheckTest, RefusesLayoutsThatDoNotFitTheAdapter) {
  ExpectRefused(
      ValidPlan(),
      {
          {"lora.layout", [](auto& p) { p.mutable_lora()->clear_layout(); }},
          {"lora.layout",
           [](auto& p) { p.mutable_lora()->mutable_layout()->RemoveLast(); }},
          {"lora.layout",
           [](auto& p) { p.mutable_lora()->add_targets("o_proj"); }},
          {"lora.layout[0].name",
           [](auto& p) { p.mutable_lora()->set_targets(0, "k_proj"); }},
          {"lora.layout[4].name",
           [](auto& p) { Tensor(p, 4).set_name(Tensor(p, 0).name()); }},
          {"lora.layout[0].name",
           [](auto& p) { Tensor(p, 0).Swap(&Tensor(p, 1)); }},
          {"lora.layout[0].shape",
           [](auto& p) { p.mutable_lora()->set_rank(3); }},
          {"lora.layout[0].shape",
           [](auto& p) { Tensor(p, 0).set_shape(1, 1); }},
          {"lora.layout[0].shape",
           [](auto& p) { Tensor(p, 0).set_shape(1, -4); }},
          {"lora.layout[1].shape",
           [](auto& p) { Tensor(p, 1).set_shape(1, 3); }},
          {"lora.layout[1].shape", [](auto& p) { Tensor(p, 1).add_shape(2); }},
          {"lora.layout[7].shape", [](auto& p) { Tensor(p, 7).clear_shape(); }},
          {"lora.layout",
           [](auto& p) { Tensor(p, 0).set_shape(1, int64_t{1} << 62); }},
      });
}

TEST(PlanCheckTest, RefusesBadDataAndTraining) {
  ExpectRefused(
      ValidPlan(),
      {
          {"data.schema", [](auto& p) { p.mutable_data()->set_schema("csv"); }},
          {"data.max_length",
           [](auto& p) { p.mutable_data()->set_max_length(1); }},
          {"data.holdout", [](auto& p) { p.mutable_data()->set_holdout(0.6); }},
          {"data.holdout",
           [](auto& p) { p.mutable_data()->set_holdout(-0.1); }},
          {"data.holdout",
           [](auto& p) { p.mutable_data()->set_holdout(kNaN<double>); }},
          {"train.engine",
           [](auto& p) { p.mutable_train()->set_engine("gpu"); }},
          {"train.lr", [](auto& p) { p.mutable_train()->set_lr(0); }},
          {"train.lr",
           [](auto& p) { p.mutable_train()->set_lr(kNaN<double>); }},
          {"train.lr", [](auto& p) { p.mutable_train()->set_lr(11); }},
          {"train.steps", [](auto& p) { p.mutable_train()->set_steps(0); }},
          {"train.batch", [](auto& p) { p.mutable_train()->set_batch(0); }},
          {"model.precision is int8 with the engine reference",
           [](auto& p) {
             p.mutable_model()->set_precision("int8");
             p.mutable_train()->set_engine("reference");
           }},
          {"train.micro_batch is 9, wanted 1 to 8",
           [](auto& p) { p.mutable_train()->set_micro_batch(9); }},
          {"train.memory_budget is 1, wanted 1000000 to 1000000000000",
           [](auto& p) { p.mutable_train()->set_memory_budget(1); }},
          {"train.memory_budget",
           [](auto& p) {
             p.mutable_train()->set_memory_budget(1'000'000'000'001);
           }},
          {"train.schedule",
           [](auto& p) { p.mutable_train()->clear_schedule(); }},
          {"train.warmup", [](auto& p) { p.mutable_train()->set_warmup(19); }},
          {"train.grad_clip",
           [](auto& p) { p.mutable_train()->set_grad_clip(-1); }},
          {"train.grad_clip",
           [](auto& p) { p.mutable_train()->set_grad_clip(kInf<double>); }},
          {"train.weight_decay",
           [](auto& p) { p.mutable_train()->set_weight_decay(kNaN<double>); }},
          {"fleet.population", [](auto& p) { p.clear_fleet(); }},
      });
}

TEST(PlanCheckTest, RefusesImpossibleRounds) {
  ExpectRefused(
      ValidPlan(),
      {
          {"rounds.count", [](auto& p) { p.mutable_rounds()->set_count(0); }},
          {"rounds.count",
           [](auto& p) { p.mutable_rounds()->set_count(10001); }},
          {"rounds.cohort", [](auto& p) { p.mutable_rounds()->set_cohort(0); }},
          {"rounds.over_select",
           [](auto& p) { p.mutable_rounds()->set_over_select(0.99); }},
          {"rounds.over_select",
           [](auto& p) { p.mutable_rounds()->set_over_select(3.01); }},
          {"rounds.over_select",
           [](auto& p) { p.mutable_rounds()->set_over_select(kNaN<double>); }},
          {"rounds.quorum", [](auto& p) { p.mutable_rounds()->set_quorum(0); }},
          {"rounds.quorum is 5, wanted 1 to 4",
           [](auto& p) { p.mutable_rounds()->set_quorum(5); }},
          {"rounds.deadline_ms",
           [](auto& p) { p.mutable_rounds()->set_deadline_ms(999); }},
          {"rounds.deadline_ms",
           [](auto& p) { p.mutable_rounds()->set_deadline_ms(604'800'001); }},
          {"rounds.select_timeout_ms",
           [](auto& p) { p.mutable_rounds()->set_select_timeout_ms(1); }},
          {"rounds.reconnect_grace_ms",
           [](auto& p) { p.mutable_rounds()->set_reconnect_grace_ms(0); }},
          {"rounds.attempts",
           [](auto& p) { p.mutable_rounds()->set_attempts(0); }},
          {"rounds.weights",
           [](auto& p) { p.mutable_rounds()->set_weights("loss"); }},
          {"rounds.weight_cap",
           [](auto& p) { p.mutable_rounds()->set_weight_cap(0); }},
          {"rounds.weight_cap",
           [](auto& p) { p.mutable_rounds()->set_weight_cap(kInf<double>); }},
          {"rounds.clear_bound",
           [](auto& p) { p.mutable_rounds()->set_clear_bound(-64); }},
          {"rounds.eval_examples",
           [](auto& p) { p.mutable_rounds()->set_eval_examples(0); }},
      });
}

TEST(PlanCheckTest, CallsWhatIsPlannedNotInThisVersion) {
  const std::vector<Refusal> planned = {
      {"privacy.mode",
       [](auto& p) { p.mutable_privacy()->set_mode("central"); }},
      {"model.precision",
       [](auto& p) { p.mutable_model()->set_precision("4bit"); }},
  };
  ExpectRefused(ValidPlan(), planned);
  for (const Refusal& refusal : planned) {
    v1::TaskPlan plan = ValidPlan();
    refusal.change(plan);
    EXPECT_THAT(Message(CheckPlan(plan)), HasSubstr("not in this version"));
  }
}

TEST(PlanCheckTest, RefusesAnUnsetPrivacyMode) {
  ExpectRefused(ValidPlan(),
                {{"privacy.mode", [](auto& p) { p.clear_privacy(); }}});
}

void AddUnknown(google::protobuf::Message* message) {
  message->GetReflection()->MutableUnknownFields(message)->AddVarint(999, 1);
}

TEST(PlanCheckTest, RefusesUnknownFieldsAtEveryDepth) {
  ExpectRefused(
      ValidPlan(),
      {
          {"number 999", [](auto& p) { AddUnknown(&p); }},
          {"rounds.number 999",
           [](auto& p) { AddUnknown(p.mutable_rounds()); }},
          {"model.parts[0].number 999",
           [](auto& p) { AddUnknown(p.mutable_model()->mutable_parts(0)); }},
      });
  v1::TaskPlan plan = ValidPlan();
  AddUnknown(plan.mutable_train());
  EXPECT_THAT(Message(ParsePlan(plan.SerializeAsString()).status()),
              HasSubstr("train.number 999"));
}

TEST(PlanCheckTest, RefusesPayloadsThatAreNotPlans) {
  const std::string valid = ValidPlan().SerializeAsString();
  EXPECT_FALSE(ParsePlan("").ok());
  EXPECT_FALSE(ParsePlan("\xff\xff\xff").ok());
  EXPECT_FALSE(ParsePlan(valid.substr(0, valid.size() - 1)).ok());
  EXPECT_THAT(Message(ParsePlan(std::string((1 << 20) + 1, 'x')).status()),
              HasSubstr("1048577 bytes"));
}

TEST(PlanCheckTest, SurvivesEveryFlippedBitOfAPayload) {
  const std::string valid = ValidPlan().SerializeAsString();
  int refused = 0;
  for (size_t bit = 0; bit < valid.size() * 8; ++bit) {
    std::string flipped = valid;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    if (!ParsePlan(flipped).ok()) ++refused;
  }
  EXPECT_GT(refused, 0);
}

TEST(PlanCheckTest, AllowsAQuorumUpToTheClientsAsked) {
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_rounds()->set_over_select(1.3);
  plan.mutable_rounds()->set_quorum(5);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  EXPECT_EQ(CohortAsked(plan.rounds()), 5u);
}

}  // namespace
}  // namespace edgetune
