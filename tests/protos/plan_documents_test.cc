#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/units.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/protos/refusals.h"
#include "tests/testing/not_finite.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::kInf;
using testing::kNaN;
using testing::Message;

void AddTensor(v1::LoraSpec* lora, const std::string& name,
               std::vector<int64_t> shape) {
  v1::LayoutTensor* tensor = lora->add_layout();
  tensor->set_name(name);
  *tensor->mutable_shape() = {shape.begin(), shape.end()};
}

TEST(PlanFunctionsTest, RoundsTheClientsAskedToTheNearest) {
  v1::RoundsSpec rounds;
  rounds.set_cohort(12);
  rounds.set_over_select(1.3);
  EXPECT_EQ(CohortAsked(rounds), 16u);  // 15.6
  rounds.set_over_select(1);
  EXPECT_EQ(CohortAsked(rounds), 12u);
}

TEST(PlanFunctionsTest, LaysTheAdapterOutInPlanOrder) {
  const auto layout = AdapterLayout(ValidPlan());
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->size(), 56u);  // 2 * (2*4 + 4*2 + 2*4 + 2*2)
  EXPECT_EQ(layout->tensors()[5].name, "layers.1.self_attn.q_proj.lora_B");
  EXPECT_EQ(layout->tensors()[5].offset, 36u);
}

TEST(PlanFunctionsTest, SendsTheWholeAdapterInEveryTrainingRoundOfFedit) {
  const v1::TaskPlan plan = ValidPlan();
  for (uint32_t round = 0; round < plan.rounds().count(); ++round) {
    EXPECT_EQ(*UpdateLayout(plan, round), *AdapterLayout(plan));
    EXPECT_EQ(*UpdateRanges(plan, round),
              std::vector<CoordinateRange>({{0, 0, 56}}));
  }
}

TEST(PlanFunctionsTest, SendsNothingAfterTheLastTrainingRound) {
  v1::TaskPlan plan = ValidPlan();
  for (const char* rule : {"fedit", "ffa", "rolora", "fedsa"}) {
    plan.mutable_lora()->set_rule(rule);
    EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
    EXPECT_TRUE(absl::IsInvalidArgument(UpdateLayout(plan, 3).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(UpdateRanges(plan, 3).status()));
  }
}

// By hand: a layer is q_A 8, q_B 8, v_A 8, v_B 4.
TEST(PlanFunctionsTest, SaysWhereOneFactorStandsInTheAdapter) {
  const std::vector<CoordinateRange> a = {
      {0, 0, 8}, {16, 8, 8}, {28, 16, 8}, {44, 24, 8}};
  const std::vector<CoordinateRange> b = {
      {8, 0, 8}, {24, 8, 4}, {36, 12, 8}, {52, 20, 4}};
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_lora()->set_rule("ffa");
  for (uint32_t round : {0, 1, 2}) EXPECT_EQ(*UpdateRanges(plan, round), b);
  plan.mutable_lora()->set_rule("rolora");
  EXPECT_EQ(*UpdateRanges(plan, 0), b);
  EXPECT_EQ(*UpdateRanges(plan, 1), a);
  EXPECT_EQ(*UpdateRanges(plan, 2), b);
  plan.mutable_lora()->set_rule("fedsa");
  for (uint32_t round : {0, 1, 2}) EXPECT_EQ(*UpdateRanges(plan, round), a);
}

TEST(PlanFunctionsTest, TrainsWhatItSendsButForFactorsThatStayOnTheDevice) {
  v1::TaskPlan plan = ValidPlan();
  for (const char* rule : {"fedit", "ffa", "rolora"}) {
    plan.mutable_lora()->set_rule(rule);
    EXPECT_FALSE(KeepsOwnFactor(plan));
    for (uint32_t round : {0, 1}) {
      EXPECT_EQ(TrainedFactors(plan, round), UpdateFactors(plan, round));
    }
  }
  plan.mutable_lora()->set_rule("fedsa");
  EXPECT_TRUE(KeepsOwnFactor(plan));
  EXPECT_EQ(TrainedFactors(plan, 0), Factors::kBoth);
  EXPECT_EQ(UpdateFactors(plan, 0), Factors::kA);
}

// Rank 8 on q, k, v, o of SmolLM2-135M: 30 layers, hidden 576, three key/value
// heads of 64. The figures are settled question 5 of the design.
TEST(PlanFunctionsTest, CountsTheFactorsOfSmolLm2) {
  v1::TaskPlan plan = ValidPlan();
  v1::LoraSpec* lora = plan.mutable_lora();
  lora->set_rank(8);
  lora->clear_targets();
  lora->clear_layout();
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    lora->add_targets(name);
  }
  for (int i = 0; i < 30 * 4; ++i) {
    const std::string& target = lora->targets(i % 4);
    const std::string name =
        "layers." + std::to_string(i / 4) + ".self_attn." + target;
    const bool shared = target == "k_proj" || target == "v_proj";
    AddTensor(lora, name + ".lora_A", {8, 576});
    AddTensor(lora, name + ".lora_B", {shared ? 192 : 576, 8});
  }
  lora->set_rule("rolora");
  ASSERT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  EXPECT_EQ(UpdateLayout(plan, 0)->size(), 368'640u);
  EXPECT_EQ(UpdateLayout(plan, 1)->size(), 552'960u);
  EXPECT_EQ(AdapterLayout(plan)->size(), 921'600u);
}

TEST(PlanFunctionsTest, KnowsTheModulesOfAllSevenTargets) {
  v1::TaskPlan plan = ValidPlan();
  v1::LoraSpec* lora = plan.mutable_lora();
  lora->clear_targets();
  lora->clear_layout();
  for (const char* name :
       {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
        "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    lora->add_targets(
        std::string(name).substr(std::string(name).find('.') + 1));
    for (const char* factor : {"A", "B"}) {
      AddTensor(lora, std::string("layers.0.") + name + ".lora_" + factor,
                {2, 2});
    }
  }
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

// Expected bytes from Python: struct.pack(">I", 2) and so on, by hand.
TEST(PlanFunctionsTest, EncodesTheBaseSortedByNameAndBigEndian) {
  std::vector<v1::FilePart> parts(2);
  parts[0].set_name("b");
  parts[0].set_size(258);
  parts[0].set_sha256("\x01\x02");
  parts[1].set_name("a");
  parts[1].set_size(1);
  parts[1].set_sha256("\x03");
  EXPECT_EQ(ToHex(CanonicalBaseEncoding(parts)),
            "00000002"
            "0000000161"
            "0000000000000001"
            "0000000103"
            "0000000162"
            "0000000000000102"
            "000000020102");
}

struct ManifestRefusal {
  const char* names;
  std::function<void(v1::RoundManifest&)> change;
};

TEST(ManifestTest, AcceptsTrainingAndEvaluation) {
  v1::RoundManifest manifest = ValidManifest();
  EXPECT_TRUE(ParseManifest(manifest.SerializeAsString()).ok());
  manifest.set_kind(v1::RoundManifest::EVAL);
  manifest.set_coordinates(0);
  manifest.clear_prev_card_digest();
  const auto parsed = ParseManifest(manifest.SerializeAsString());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
}

TEST(ManifestTest, RefusesNonsenseNamingTheField) {
  const std::vector<ManifestRefusal> refusals = {
      {"header.version", [](auto& m) { m.clear_header(); }},
      {"kind", [](auto& m) { m.clear_kind(); }},
      {"kind is 7",
       [](auto& m) { m.set_kind(static_cast<v1::RoundManifest::Kind>(7)); }},
      {"plan_digest", [](auto& m) { m.clear_plan_digest(); }},
      {"round", [](auto& m) { m.set_round(10001); }},
      {"attempt", [](auto& m) { m.set_attempt(1001); }},
      {"adapter_digest", [](auto& m) { m.set_adapter_digest("x"); }},
      {"coordinates", [](auto& m) { m.set_coordinates(0); }},
      {"coordinates",
       [](auto& m) { m.set_coordinates((uint64_t{1} << 31) + 1); }},
      {"coordinates", [](auto& m) { m.set_kind(v1::RoundManifest::EVAL); }},
      {"prev_card_digest", [](auto& m) { m.set_prev_card_digest("x"); }},
      {"deadline_ms",
       [](auto& m) { m.set_deadline_ms(m.header().issued_ms()); }},
  };
  for (const auto& refusal : refusals) {
    v1::RoundManifest manifest = ValidManifest();
    refusal.change(manifest);
    const auto parsed = ParseManifest(manifest.SerializeAsString());
    ASSERT_FALSE(parsed.ok()) << refusal.names;
    EXPECT_THAT(Message(parsed.status()), HasSubstr(refusal.names));
  }
}

struct CardRefusal {
  const char* names;
  std::function<void(v1::ModelCard&)> change;
};

TEST(CardTest, AcceptsTheInitialVersionAndLaterOnes) {
  v1::ModelCard card = ValidCard();
  EXPECT_TRUE(ParseCard(card.SerializeAsString()).ok());
  card.set_version(0);
  card.clear_prev_card_digest();
  card.clear_updates();
  card.clear_weight_sum();
  const auto parsed = ParseCard(card.SerializeAsString());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
}

TEST(CardTest, RefusesNonsenseNamingTheField) {
  const std::vector<CardRefusal> refusals = {
      {"header.expires_ms",
       [](auto& c) { c.mutable_header()->clear_expires_ms(); }},
      {"plan_digest", [](auto& c) { c.clear_plan_digest(); }},
      {"adapter_digest", [](auto& c) { c.clear_adapter_digest(); }},
      {"prev_card_digest", [](auto& c) { c.clear_prev_card_digest(); }},
      {"prev_card_digest", [](auto& c) { c.set_version(0); }},
      {"updates", [](auto& c) { c.set_updates(0); }},
      {"weight_sum", [](auto& c) { c.set_weight_sum(0); }},
      {"weight_sum", [](auto& c) { c.set_weight_sum(kNaN<double>); }},
      {"weight_sum", [](auto& c) { c.set_weight_sum(kInf<double>); }},
  };
  for (const auto& refusal : refusals) {
    v1::ModelCard card = ValidCard();
    refusal.change(card);
    const auto parsed = ParseCard(card.SerializeAsString());
    ASSERT_FALSE(parsed.ok()) << refusal.names;
    EXPECT_THAT(Message(parsed.status()), HasSubstr(refusal.names));
  }
}

}  // namespace
}  // namespace edgetune
