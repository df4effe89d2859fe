// What becomes of a round's updates: rules of combining and server steps.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/testing/not_finite.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kInf;
using testing::kNaN;

using Rounds = v1::RoundsSpec;
using RoundsChange = std::function<void(Rounds&)>;

// A plan with a rule, what it needs, and 12 clients, all of whom must report.
v1::TaskPlan PlanWith(const std::string& aggregator) {
  v1::TaskPlan plan = ValidPlan();
  Rounds& rounds = *plan.mutable_rounds();
  rounds.set_cohort(12);
  rounds.set_quorum(12);
  rounds.set_aggregator(aggregator);
  if (aggregator == "trimmed_mean") rounds.set_trim(0.25);
  if (aggregator == "krum" || aggregator == "multi_krum" ||
      aggregator == "bulyan") {
    rounds.set_byzantine(2);
  }
  if (aggregator == "norm_bound") rounds.set_norm_bound(1);
  return plan;
}

const char* const kRules[] = {"mean",       "trimmed_mean",    "median",
                              "krum",       "multi_krum",      "bulyan",
                              "norm_bound", "geometric_median"};

std::string Verdict(const std::string& aggregator, const RoundsChange& change) {
  v1::TaskPlan plan = PlanWith(aggregator);
  change(*plan.mutable_rounds());
  const absl::Status status = CheckPlan(plan);
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(PlanAggregatorTest, EveryRuleIsAcceptedInTheClear) {
  for (const char* rule : kRules) {
    EXPECT_EQ(Verdict(rule, [](auto&) {}), "") << rule;
  }
}

TEST(PlanAggregatorTest, NoOtherWordIsARule) {
  for (const char* word : {"", "Mean", "krum ", "average"}) {
    EXPECT_THAT(Verdict(word, [](auto&) {}), HasSubstr("rounds.aggregator"))
        << word;
  }
}

TEST(PlanAggregatorTest, MaskingRefusesWhatLooksAtSingleUpdates) {
  for (const char* rule : kRules) {
    v1::TaskPlan plan = PlanWith(rule);
    *plan.mutable_secagg() = MaskedPlan().secagg();
    const std::string message(CheckPlan(plan).message());
    if (std::string(rule) == "mean") {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_THAT(message, HasSubstr("rounds.aggregator"));
      EXPECT_THAT(message, HasSubstr("masking leaves only sums"));
    }
  }
}

TEST(PlanAggregatorTest, AFieldOfAnotherRuleIsRefused) {
  const struct {
    const char* field;
    RoundsChange set;
    std::vector<std::string> users;
  } cases[] = {
      {"rounds.trim", [](auto& r) { r.set_trim(0.2); }, {"trimmed_mean"}},
      {"rounds.byzantine",
       [](auto& r) { r.set_byzantine(1); },
       {"krum", "multi_krum", "bulyan"}},
      {"rounds.kept", [](auto& r) { r.set_kept(3); }, {"multi_krum"}},
      {"rounds.norm_bound",
       [](auto& r) { r.set_norm_bound(2); },
       {"norm_bound"}}};
  for (const auto& [field, set, users] : cases) {
    for (const std::string rule : kRules) {
      const bool uses =
          std::find(users.begin(), users.end(), rule) != users.end();
      const std::string message = Verdict(rule, set);
      EXPECT_EQ(message.empty(), uses) << rule << ": " << message;
      EXPECT_THAT(message, HasSubstr(uses ? "" : field)) << rule;
    }
  }
}

TEST(PlanAggregatorTest, ValuesOutOfRangeAreRefused) {
  for (const double bad : {0.0, -0.1, 0.5, 1.0, kNaN<double>, kInf<double>}) {
    EXPECT_THAT(Verdict("trimmed_mean", [&](auto& r) { r.set_trim(bad); }),
                HasSubstr("rounds.trim"));
  }
  for (const double bad : {0.0, -1.0, 1.1e9, kNaN<double>, kInf<double>}) {
    EXPECT_THAT(Verdict("norm_bound", [&](auto& r) { r.set_norm_bound(bad); }),
                HasSubstr("rounds.norm_bound"));
  }
  for (const char* rule : {"krum", "multi_krum", "bulyan"}) {
    EXPECT_THAT(Verdict(rule, [](auto& r) { r.set_byzantine(0); }),
                HasSubstr("rounds.byzantine is 0, wanted 1 or more"));
  }
}

// The most of `set` that a quorum of 12 is enough for, and one more.
struct Edge {
  const char* rule;
  RoundsChange good, bad;
  const char* wanted;
};

TEST(PlanAggregatorTest, TheQuorumMustBeEnoughForTheRule) {
  const Edge edges[] = {
      {"krum", [](auto& r) { r.set_byzantine(4); },
       [](auto& r) { r.set_byzantine(5); }, "at least 13: krum"},
      {"multi_krum", [](auto& r) { r.set_byzantine(4); },
       [](auto& r) { r.set_byzantine(5); }, "at least 13: multi_krum"},
      {"multi_krum", [](auto& r) { r.set_kept(10); },
       [](auto& r) { r.set_kept(11); }, "byzantine = 2 and rounds.kept = 11"},
      {"bulyan", [](auto& r) { r.set_byzantine(2); },
       [](auto& r) { r.set_byzantine(3); }, "at least 15: bulyan"},
      {"bulyan", [](auto&) {}, [](auto& r) { r.set_byzantine(0xffffffff); },
       "at least 17179869183"},
      {"trimmed_mean", [](auto& r) { r.set_trim(0.1); },
       [](auto& r) { r.set_trim(0.08); }, "at least 13: trimmed_mean"},
      {"trimmed_mean", [](auto&) {}, [](auto& r) { r.set_trim(1e-300); },
       "rounds.trim = 1e-300"}};
  for (const Edge& edge : edges) {
    EXPECT_EQ(Verdict(edge.rule, edge.good), "");
    EXPECT_THAT(Verdict(edge.rule, edge.bad), HasSubstr("rounds.quorum is 12"));
    EXPECT_THAT(Verdict(edge.rule, edge.bad), HasSubstr(edge.wanted));
  }
}

TEST(PlanAggregatorTest, RulesThatHoldEveryUpdateTakeSoMany) {
  const auto ask = [](uint32_t count) {
    return [count](Rounds& r) { r.set_cohort(count); };
  };
  for (const std::string rule : kRules) {
    const bool compares =
        rule == "krum" || rule == "multi_krum" || rule == "bulyan";
    const bool sums = rule == "mean" || rule == "norm_bound";
    const uint32_t most = sums ? 100'000 : compares ? 300 : 1000;
    EXPECT_EQ(Verdict(rule, ask(most)), "") << rule;
    EXPECT_THAT(Verdict(rule, ask(most + 1)), HasSubstr("rounds.cohort"));
  }
}

TEST(PlanAggregatorTest, NotesSayWhatIsHeldAndWhatDoesNotCount) {
  EXPECT_THAT(PlanNotes(PlanWith("norm_bound")), IsEmpty());
  // 12 updates of 56 coordinates of 4 bytes.
  const auto held = HasSubstr("2.7 kB in the coordinator's memory");
  EXPECT_THAT(PlanNotes(PlanWith("median")),
              ElementsAre(HasSubstr("does not look at weights"), held));
  EXPECT_THAT(PlanNotes(PlanWith("geometric_median")), ElementsAre(held));
  v1::TaskPlan equal = PlanWith("krum");
  equal.mutable_rounds()->set_weights("equal");
  EXPECT_THAT(PlanNotes(equal), ElementsAre(held));
}

TEST(PlanServerStepTest, EveryKindIsAccepted) {
  for (const char* kind : {"sgd", "momentum", "adam", "yogi", "adagrad"}) {
    EXPECT_EQ(Verdict("mean", [&](auto& r) { r.set_server_optimizer(kind); }),
              "");
  }
}

TEST(PlanServerStepTest, BadStepsAreRefused) {
  const std::pair<const char*, RoundsChange> refusals[] = {
      {"rounds.server_optimizer",
       [](auto& r) { r.set_server_optimizer("lion"); }},
      {"rounds.server_optimizer", [](auto& r) { r.set_server_optimizer(""); }},
      {"rounds.server_lr", [](auto& r) { r.set_server_lr(0); }},
      {"rounds.server_beta1", [](auto& r) { r.set_server_beta1(1); }},
      {"rounds.server_beta2", [](auto& r) { r.set_server_beta2(-0.1); }},
      {"rounds.server_epsilon",
       [](auto& r) { r.set_server_epsilon(kNaN<double>); }}};
  for (const auto& [names, change] : refusals) {
    EXPECT_THAT(Verdict("mean", change), HasSubstr(names));
  }
}

TEST(PlanServerStepTest, WhatDividesByEpsilonNeedsOne) {
  for (const std::string kind :
       {"sgd", "momentum", "adam", "yogi", "adagrad"}) {
    const std::string message = Verdict("mean", [&](auto& r) {
      r.set_server_optimizer(kind);
      r.set_server_epsilon(0);
    });
    EXPECT_EQ(message.empty(), kind == "sgd" || kind == "momentum") << kind;
  }
}

}  // namespace
}  // namespace edgetune
