#include "simulations/runner/baselines.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "base/status.h"
#include "tests/simulations_runner/small_simulation.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::SmallSimulation;

// A client alone makes what a fleet of this one client makes: the coordinator
// is the second way to the same adapter. A sum in fixed point of 2^-32 lies
// between, so that losses agree to about 1e-9, and 1e-6 is generous.
void ExpectLocalIsFederated(SmallSimulation& one) {
  one.options.run.simulation.partition = "iid";
  one.options.baselines = true;
  one.Run();
  ASSERT_TRUE(one.simulation->measured().status.ok());
  const auto& baselines = one.simulation->measured().baselines->baselines;
  ASSERT_EQ(baselines.size(), 3u);
  EXPECT_EQ(baselines[0].name, "local");
  EXPECT_EQ(baselines[2].name, "federated");
  EXPECT_EQ(TotalOf(baselines[0]).tokens, TotalOf(baselines[2]).tokens);
  EXPECT_NEAR(PerplexityOf(TotalOf(baselines[0])),
              PerplexityOf(TotalOf(baselines[2])), 1e-6);
}

TEST(BaselinesTest, LocalIsTheFederatedRunOfAFleetOfOne) {
  SmallSimulation one(1, 1);
  ExpectLocalIsFederated(one);
}

// A lone device's mean of factors misses nothing: its frozen slices stay zeros.
TEST(BaselinesTest, LocalTrainsNoFrozenSlicesEither) {
  SmallSimulation one(1, 1);
  UseFrozen(one.test_run, "fedex", 3);
  ExpectLocalIsFederated(one);
}

TEST(BaselinesTest, EveryWayHasItsBudgetOfSteps) {
  SmallSimulation fleet(6, 4);
  fleet.options.baselines = true;
  fleet.Run();
  // 3 rounds of 3 steps: 4 clients of the run, 6 alone, 4 clients' worth.
  EXPECT_EQ(fleet.engine.steps, 3 * 3 * (4 + 6 + 4));
  EXPECT_EQ(fleet.engine.trainings, 3 * (4 + 6 + 1));
}

TEST(BaselinesTest, EachIsScoredOnAllHeldOutExamplesOfEachClient) {
  SmallSimulation fleet(6, 4);
  fleet.options.baselines = true;
  fleet.test_run.plan.mutable_rounds()->set_eval_examples(1);
  fleet.Run();
  const BaselineReport& report = *fleet.simulation->measured().baselines;
  ASSERT_EQ(report.clients.size(), 6u);
  EXPECT_EQ(report.of, 6u);
  for (size_t i = 0; i < 6; ++i) {
    const FleetData& data = fleet.simulation->data();
    const auto local = data.Read(data.partition()[i].name, fleet.test_run.plan);
    int64_t labelled = 0;
    for (int64_t j = 0; j < local->heldout->size(); ++j) {
      for (const uint8_t label : local->heldout->Get(j).labelled) {
        labelled += label;
      }
    }
    for (const Baseline& baseline : report.baselines) {
      EXPECT_EQ(baseline.clients[i].tokens, labelled) << baseline.name;
    }
  }
}

TEST(BaselinesTest, TheLogHasThemBeforeItsEndOfAllAndOfGroups) {
  SmallSimulation fleet(6, 4);
  fleet.options.baselines = true;
  fleet.Run();
  const RunSummary summary = fleet.Summary();
  EXPECT_EQ(summary.state, "finished");
  ASSERT_EQ(summary.groups.size(), 2u);
  for (const Baseline& baseline :
       fleet.simulation->measured().baselines->baselines) {
    const Measure all = summary.baselines.at(baseline.name);
    EXPECT_EQ(all.tokens, TotalOf(baseline).tokens);
    EXPECT_EQ(all.nll_sum, TotalOf(baseline).nll_sum);
    int64_t tokens = 0;
    for (const GroupSummary& group : summary.groups) {
      tokens += group.baselines.at(baseline.name).tokens;
    }
    EXPECT_EQ(tokens, all.tokens);
  }
}

TEST(BaselinesTest, FewerClientsAreTheSameForEveryWayAndFirstOfTheMore) {
  std::vector<size_t> before;
  for (const size_t clients : {1, 2, 4}) {
    SmallSimulation fleet(6, 4);
    fleet.options.baselines = true;
    fleet.options.baseline_clients = clients;
    fleet.Run();
    const BaselineReport& report = *fleet.simulation->measured().baselines;
    EXPECT_EQ(report.clients.size(), clients);
    EXPECT_EQ(report.of, 6u);
    EXPECT_TRUE(std::includes(report.clients.begin(), report.clients.end(),
                              before.begin(), before.end()));
    before = report.clients;
    EXPECT_EQ(fleet.engine.trainings, 3 * (4 + static_cast<int>(clients) + 1));
    for (const Baseline& baseline : report.baselines) {
      EXPECT_EQ(TotalOf(baseline).tokens, TotalOf(report.baselines[0]).tokens);
    }
  }
}

TEST(BaselinesTest, WorkersChangeNothing) {
  std::vector<std::string> logs;
  for (const size_t workers : {1, 3}) {
    SmallSimulation fleet(6, 4);
    fleet.options.baselines = true;
    fleet.options.workers = workers;
    fleet.test_run.plan.set_nonce(std::string(32, 'n'));
    fleet.Run();
    std::ifstream file(fleet.options.log_path);
    std::stringstream text;
    text << file.rdbuf();
    logs.push_back(text.str());
  }
  EXPECT_THAT(logs[0], HasSubstr("\"baseline\""));
  EXPECT_EQ(logs[0], logs[1]);
}

TEST(BaselinesTest, ProgressEndsAtItsTotal) {
  SmallSimulation fleet(6, 4);
  fleet.options.baselines = true;
  MeasuringProgress last;
  fleet.options.on_measuring = [&](const MeasuringProgress& at) {
    EXPECT_GE(at.done, last.done);
    EXPECT_LE(at.done, at.total);
    last = at;
  };
  fleet.Run();
  EXPECT_GT(last.total, 0);
  EXPECT_EQ(last.done, last.total);
}

TEST(BaselinesTest, AStopEndsThemAndLeavesAWholeLogOfTheRun) {
  SmallSimulation fleet(6, 4);
  fleet.options.baselines = true;
  fleet.engine.on_step = [&](int64_t) {
    if (fleet.engine.trainings > 3 * 4) fleet.stop = true;
  };
  fleet.Run();
  EXPECT_TRUE(absl::IsCancelled(fleet.simulation->measured().status));
  EXPECT_FALSE(fleet.simulation->measured().baselines.has_value());
  const RunSummary summary = fleet.Summary();
  EXPECT_EQ(summary.state, "finished");
  EXPECT_TRUE(summary.baselines.empty());
}

// Its trainers diverge where a segment is longer than the plan's, hence in the
// central training alone.
class DivergingEngine final : public Engine {
 public:
  explicit DivergingEngine(Engine* inner) : inner_(inner) {}
  bool UsesBf16(Precision precision) const override {
    return inner_->UsesBf16(precision);
  }
  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    class Diverging final : public Trainer {
     public:
      explicit Diverging(std::unique_ptr<Trainer> inner)
          : inner_(std::move(inner)) {}
      const ModelConfig& model() const override { return inner_->model(); }
      std::string precision() const override { return "fp32"; }
      absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                          const ExampleSource& examples,
                                          int64_t most,
                                          const StopToken& stop) override {
        return inner_->Evaluate(adapter, examples, most, stop);
      }
      absl::StatusOr<TrainResult> Train(
          const Adapter& adapter, const ExampleSource& examples,
          const TrainConfig& config, CheckpointStore* checkpoints,
          const StopToken& stop,
          const std::function<void(const TrainProgress&)>& progress) override {
        if (config.steps > 3) return absl::AbortedError("loss not finite");
        return inner_->Train(adapter, examples, config, checkpoints, stop,
                             progress);
      }

     private:
      const std::unique_ptr<Trainer> inner_;
    };
    auto made = inner_->MakeTrainer(std::move(model), options);
    return std::make_unique<Diverging>(*std::move(made));
  }
  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile>, const EngineOptions&) override {
    return absl::UnimplementedError("");
  }

 private:
  Engine* const inner_;
};

TEST(BaselinesTest, OneThatFailsIsNamedAndTheRunStands) {
  SmallSimulation fleet(6, 4);
  DivergingEngine diverging(&fleet.engine);
  fleet.options.baselines = true;
  fleet.options.engine = [&](std::string_view) -> absl::StatusOr<Engine*> {
    return &diverging;
  };
  fleet.Run();
  const absl::Status status = fleet.simulation->measured().status;
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("central baseline"));
  EXPECT_EQ(fleet.Summary().state, "finished");
}

TEST(BaselinesTest, RefusesToMeasureOnNothingBeforeTheRun) {
  SmallSimulation fleet(6, 4);
  fleet.options.baselines = true;
  fleet.test_run.plan.mutable_data()->set_holdout(0);
  const absl::Status made = fleet.Make();
  EXPECT_EQ(KindOf(made), ErrorKind::kConfig);
  EXPECT_THAT(std::string(made.message()), HasSubstr("data.holdout"));
}

TEST(CentralConfigTest, MakesTheStepsOfACohortAndWarmsUpAsLong) {
  v1::TaskPlan plan = ValidPlan();  // 3 rounds, cohort 4
  plan.mutable_train()->set_steps(6);
  plan.mutable_train()->set_warmup(3);
  const TrainConfig config = CentralConfigOf(plan, 1, {100, 1000});
  EXPECT_EQ(config.steps, 24);
  EXPECT_EQ(config.warmup, 12);  // of 72 as 3 of 18
  EXPECT_EQ(config.epochs, 0);
  EXPECT_EQ(config.round, 1);
  EXPECT_EQ(config.rounds, 3);
  EXPECT_EQ(config.batch, plan.train().batch());
  EXPECT_EQ(config.lr, plan.train().lr());
}

TEST(CentralConfigTest, OfEpochsSeesAsManyExamplesAsTheMeanCohort) {
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_train()->set_steps(0);
  plan.mutable_train()->set_epochs(2);
  plan.mutable_train()->set_batch(8);
  plan.mutable_train()->set_warmup(3);
  // A client has 12.5 examples, four of them twice: 100, or 13 batches.
  const TrainConfig config = CentralConfigOf(plan, 0, {8, 100});
  EXPECT_EQ(config.steps, 13);
  EXPECT_EQ(config.epochs, 0);
  EXPECT_EQ(config.warmup, 20);  // 3 of 6 passes: half of 39 steps
}

TEST(BaselineFiguresTest, AClientCountsOnceInTheMeanAndByTokensInTheTotal) {
  const Baseline baseline = {
      "local", {{std::log(2.0) * 10, 10}, {std::log(8.0) * 30, 30}}};
  EXPECT_DOUBLE_EQ(MeanPerplexity(baseline), 5);
  // exp((10 ln 2 + 90 ln 2) / 40) = 2^2.5
  EXPECT_NEAR(PerplexityOf(TotalOf(baseline)), std::exp2(2.5), 1e-12);
}

}  // namespace
}  // namespace edgetune
