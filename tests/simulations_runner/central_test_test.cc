#include "simulations/runner/central_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "base/status.h"
#include "simulations/report/event_log.h"
#include "tests/testing/plans.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;

// Takes every third image for told right, and 2 nats each.
class CountingTrainer final : public Trainer {
 public:
  const ModelConfig& model() const override { return config_; }
  std::string precision() const override { return "none"; }
  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& /*stop*/) override {
    EXPECT_EQ(max_examples, examples.size());
    if (adapter.values[0] < 0) return absl::InternalError("no score");
    Evaluation evaluation;
    for (int64_t i = 0; i < examples.size(); ++i) {
      evaluation.correct += examples.Get(i).tokens[0] % 3 == 0 ? 1 : 0;
    }
    evaluation.tokens = examples.size();
    evaluation.nll_sum = 2.0 * static_cast<double>(examples.size());
    ++calls;
    return evaluation;
  }
  absl::StatusOr<TrainResult> Train(
      const Adapter&, const ExampleSource&, const TrainConfig&,
      CheckpointStore*, const StopToken&,
      const std::function<void(const TrainProgress&)>&) override {
    return absl::UnimplementedError("");
  }

  std::atomic<int> calls{0};

 private:
  ModelConfig config_;
};

class OneTrainer final : public BaseModels {
 public:
  absl::Status UseEngine(const std::string&) override { return {}; }
  absl::StatusOr<uint64_t> FetchBase(const v1::TaskPlan&, Transfer&) override {
    return uint64_t{0};
  }
  absl::Status Open(const v1::TaskPlan&) override { return {}; }
  void DropTrainer() override {}
  absl::Status Load(const v1::TaskPlan&, const MemoryChoice&) override {
    return {};
  }
  const ModelFile& model() const override { std::abort(); }
  Trainer& trainer() override { return counting; }
  Engine& engine() override { std::abort(); }
  int64_t threads() const override { return 1; }

  CountingTrainer counting;
};

constexpr int kImages = 1201;  // more than two parts

class CentralTestTest : public ::testing::Test {
 protected:
  CentralTestTest() {
    RunHeader header;
    header.run = std::string(64, 'a');
    header.clients = 1;
    log_ = *EventLog::Create(scratch_.File("events.jsonl"), header);
    logger_ = std::make_unique<RunLogger>(
        RunLogger::Options{.log = log_.get(),
                           .start = absl::UnixEpoch(),
                           .rounds = 5,
                           .images = true,
                           .clients = {},
                           .on_progress = {}});
  }

  CentralTest Make(uint32_t every) {
    ExampleSet::Parts parts;
    for (int i = 0; i < kImages; ++i) {
      parts.examples.push_back({{i}, {1}, pixel_});
      parts.positions.push_back(i);
    }
    CentralTest::Options options;
    options.examples = std::make_unique<ExampleSet>(std::move(parts));
    options.every = every;
    options.rounds = 5;
    options.logger = logger_.get();
    options.newest = [this]() -> absl::StatusOr<Adapter> {
      Adapter adapter;
      adapter.values = {first_value_};
      return adapter;
    };
    options.measuring = [this] {
      return Measuring::Make({.plan = &plan_,
                              .data = nullptr,
                              .workers = &workers_,
                              .models = &models_,
                              .stop = &stop_,
                              .on_progress = {}});
    };
    return CentralTest(std::move(options));
  }
  // The run has made this version.
  void Reach(CentralTest& test, uint32_t version) {
    v1::RunStatus status;
    for (uint32_t i = 0; i <= version; ++i) {
      v1::ModelCard card = ValidCard();
      card.set_version(i == 0 ? 1 : i);
      status.add_cards()->set_payload(card.SerializeAsString());
    }
    test.OnRun(absl::UnixEpoch() + absl::Seconds(version), status);
  }
  // Of the tests in the log.
  std::vector<int64_t> Versions() {
    EXPECT_TRUE(log_->Close().ok());
    const auto reader = *EventReader::Open(scratch_.File("events.jsonl"));
    std::vector<int64_t> versions;
    while (true) {
      const auto event = *reader->Next();
      if (!event.has_value()) return versions;
      if (event->kind != EventKind::kTest) continue;
      versions.push_back(*event->round);
      EXPECT_EQ(event->tokens, kImages);
      EXPECT_EQ(event->correct, (kImages + 2) / 3);
      EXPECT_EQ(event->nll_sum, 2.0 * kImages);
    }
  }

  const testing::ScratchDirectory scratch_;
  const std::vector<uint8_t> pixel_ = {7};
  const v1::TaskPlan plan_ = ValidPlan();
  float first_value_ = 0;
  StopToken stop_{false};
  OneTrainer models_;
  WorkerPool workers_{3};
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<RunLogger> logger_;
};

TEST_F(CentralTestTest, EveryVersionIsScoredOnceOnAllImages) {
  CentralTest test = Make(1);
  for (const uint32_t version : {0, 0, 1, 1, 2}) Reach(test, version);
  EXPECT_TRUE(test.status().ok()) << test.status();
  EXPECT_THAT(Versions(), ElementsAre(0, 1, 2));
  EXPECT_EQ(models_.counting.calls, 9);
  EXPECT_NEAR(*logger_->progress().accuracy, 1 / 3.0, 1e-3);
}

TEST_F(CentralTestTest, OrEveryThirdAndTheLast) {
  CentralTest test = Make(3);
  for (uint32_t version = 0; version <= 5; ++version) Reach(test, version);
  EXPECT_THAT(Versions(), ElementsAre(0, 3, 5));
}

TEST_F(CentralTestTest, AfterAnErrorNothingMoreIsScored) {
  CentralTest test = Make(1);
  Reach(test, 0);
  first_value_ = -1;
  Reach(test, 1);
  first_value_ = 0;
  Reach(test, 2);
  EXPECT_TRUE(absl::IsInternal(test.status())) << test.status();
  EXPECT_THAT(Versions(), ElementsAre(0));
}

TEST_F(CentralTestTest, AStopIsNoScore) {
  CentralTest test = Make(1);
  stop_ = true;
  Reach(test, 0);
  EXPECT_TRUE(absl::IsCancelled(test.status())) << test.status();
  EXPECT_THAT(Versions(), ElementsAre());
}

}  // namespace
}  // namespace edgetune
