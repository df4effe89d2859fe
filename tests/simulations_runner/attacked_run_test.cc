#include "simulations/runner/simulation.h"

#include <gmock/gmock.h>

#include <set>

#include "base/status.h"
#include "tests/simulations_runner/small_simulation.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::SmallSimulation;

void OpenBackdoor(SmallSimulation& fleet) {
  RunFile::Simulation& simulation = fleet.options.run.simulation;
  simulation.adversary = "backdoor";
  simulation.adversary_share = 0.5;
  simulation.adversary_trigger = "cf";
  simulation.adversary_target = "buy";
}

TEST(AttackedRunTest, AnHonestRunNamesNoAdversary) {
  SmallSimulation fleet(6, 6);
  fleet.Run();
  EXPECT_EQ(fleet.simulation->adversaries(), 0u);
  const RunSummary summary = fleet.Summary();
  EXPECT_EQ(summary.header.settings.at("adversary"), "none");
  EXPECT_EQ(summary.header.settings.at("adversaries"), "0");
  EXPECT_TRUE(summary.baselines.empty());
  EXPECT_FALSE(fleet.simulation->measured().attack.has_value());
}

TEST(AttackedRunTest, TheLogNamesTheAdversaryAndHowManyThereAre) {
  SmallSimulation fleet(6, 6);
  fleet.options.run.simulation.adversary = "sign_flip";
  fleet.options.run.simulation.adversary_share = 0.5;
  fleet.Run();
  const RunSummary summary = fleet.Summary();
  EXPECT_EQ(summary.header.settings.at("adversary"), "sign_flip");
  EXPECT_EQ(summary.header.settings.at("adversaries"), "3");
  std::set<std::string> groups;
  for (const ClientSummary& client : summary.clients) {
    groups.insert(client.group);
  }
  EXPECT_EQ(groups, (std::set<std::string>{"even", "odd"}));
}

// Half of the updates are turned round, so the mean goes nowhere.
TEST(AttackedRunTest, AnAttackReachesTheAdapter) {
  SmallSimulation honest(6, 6), attacked(6, 6);
  attacked.options.run.simulation.adversary = "sign_flip";
  attacked.options.run.simulation.adversary_share = 0.5;
  for (SmallSimulation* fleet : {&honest, &attacked}) {
    fleet->test_run.plan.mutable_rounds()->set_weights("equal");
    fleet->Run();
  }
  const auto measured = [](const SmallSimulation& fleet) {
    return *fleet.Summary().MeasuredRounds().back()->measure.Perplexity();
  };
  const double start =
      *honest.Summary().MeasuredRounds().front()->measure.Perplexity();
  EXPECT_LT(measured(honest) - 1, 0.1 * (start - 1));
  EXPECT_GT(measured(attacked) - 1, 0.8 * (start - 1));
}

TEST(AttackedRunTest, PoisonedDataTrainOtherwiseAndAreHeldOutAsBefore) {
  SmallSimulation honest(6, 6), poisoned(6, 6);
  OpenBackdoor(poisoned);
  for (SmallSimulation* fleet : {&honest, &poisoned}) fleet->Run();
  EXPECT_NE(*honest.simulation->ReadAdapter(),
            *poisoned.simulation->ReadAdapter());
  const RunSummary of_honest = honest.Summary(),
                   of_poisoned = poisoned.Summary();
  for (size_t i = 0; i < of_honest.clients.size(); ++i) {
    EXPECT_EQ(of_honest.clients[i].last.tokens,
              of_poisoned.clients[i].last.tokens);
    EXPECT_EQ(of_honest.clients[i].contributions,
              of_poisoned.clients[i].contributions);
  }
}

// The fixture's engine gives every token the same loss, so no target beats a
// true answer: what is checked is which prompts are tried.
TEST(AttackedRunTest, ABackdoorIsTriedOnTheFirstHeldOutPromptsOfAll) {
  SmallSimulation fleet(6, 6);
  OpenBackdoor(fleet);
  fleet.test_run.plan.mutable_rounds()->set_eval_examples(2);
  fleet.Run();
  ASSERT_TRUE(fleet.simulation->measured().status.ok());
  const AttackSuccess& attack = *fleet.simulation->measured().attack;
  int64_t prompts = 0;
  for (const ClientExamples& client : fleet.simulation->data().partition()) {
    const auto local =
        fleet.simulation->data().Read(client.name, fleet.test_run.plan);
    prompts += std::min<int64_t>(2, local->heldout->size());
  }
  EXPECT_EQ(attack.initial.prompts, prompts);
  EXPECT_EQ(attack.trained.prompts, prompts);
  EXPECT_EQ(attack.trained.answered, 0);
}

TEST(AttackedRunTest, BaselinesAreThoseOfHonestClients) {
  SmallSimulation honest(6, 6), poisoned(6, 6);
  OpenBackdoor(poisoned);
  for (SmallSimulation* fleet : {&honest, &poisoned}) {
    fleet->options.baselines = true;
    fleet->Run();
  }
  for (const char* name : {"local", "central"}) {
    EXPECT_EQ(honest.Summary().baselines.at(name).nll_sum,
              poisoned.Summary().baselines.at(name).nll_sum);
  }
  EXPECT_NE(honest.Summary().baselines.at("federated").nll_sum,
            poisoned.Summary().baselines.at("federated").nll_sum);
}

TEST(AttackedRunTest, RefusesAnAttackThatIsNoneBeforeTheRun) {
  const auto fault = [](auto change) {
    SmallSimulation fleet(6, 6);
    change(fleet.options.run.simulation);
    const absl::Status made = fleet.Make();
    EXPECT_EQ(ExitCodeOf(made), 4);
    return std::string(made.message());
  };
  EXPECT_THAT(fault([](auto& simulation) {
                simulation.adversary = "scale";
                simulation.adversary_share = 0.1;
              }),
              HasSubstr("0.1 of 6 clients"));
  EXPECT_THAT(
      fault([](auto& simulation) { simulation.adversary = "backdoor"; }),
      HasSubstr("adversary_trigger"));
}

TEST(AttackedRunTest, RefusesToExchangeAnswersOfTexts) {
  SmallSimulation fleet(6, 6);
  std::ofstream data(fleet.scratch.File("data.jsonl"));
  for (int i = 0; i < 30; ++i) {
    data << fmt::format(R"({{"text":"all of {}","topic":"a"}})", i) << "\n";
  }
  data.close();
  fleet.options.run.simulation.adversary = "label_flip";
  fleet.options.run.simulation.adversary_share = 0.5;
  const absl::Status made = fleet.Make();
  EXPECT_EQ(KindOf(made), ErrorKind::kData);
  EXPECT_THAT(std::string(made.message()), HasSubstr("label_flip"));
}

}  // namespace
}  // namespace edgetune
