#include "simulations/runner/baselines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "client/train_plan.h"

namespace edgetune {
namespace {

// The training examples of all clients, one client after the other.
class JoinedExamples final : public ExampleSource {
 public:
  explicit JoinedExamples(const std::vector<LocalData>& clients) {
    for (const LocalData& client : clients) {
      targets_ = client.train->targets();
      for (int64_t i = 0; i < client.train->size(); ++i) {
        examples_.push_back(&client.train->Get(i));
        if (targets_ == nullptr) continue;
        first_targets_.push_back(client.train->FirstTarget(i));
      }
    }
  }
  int64_t size() const override {
    return static_cast<int64_t>(examples_.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return *examples_[static_cast<size_t>(index)];
  }
  const TeacherTargets* targets() const override { return targets_; }
  int64_t FirstTarget(int64_t index) const override {
    return first_targets_[static_cast<size_t>(index)];
  }

 private:
  std::vector<const LabelledTokens*> examples_;
  const TeacherTargets* targets_ = nullptr;  // those of the whole fleet
  std::vector<int64_t> first_targets_;
};

class BaselineRun {
 public:
  BaselineRun(const BaselineTask& task, Measuring& measuring)
      : task_(task),
        measuring_(measuring),
        plan_(measuring.plan()),
        partition_(measuring.data().partition()) {}

  absl::StatusOr<BaselineReport> Measure() {
    EDGETUNE_RETURN_IF_ERROR(ReadData());
    EDGETUNE_RETURN_IF_ERROR(ChooseClients());
    joined_ = std::make_unique<JoinedExamples>(data_);
    central_ = task_.initial;
    measuring_.Begin("baselines", Total());
    const size_t count = report_.clients.size();
    for (const char* name : {"local", "central", "federated"}) {
      report_.baselines.push_back({name, std::vector<Evaluation>(count)});
    }
    // The longest first, and what needs it last.
    std::vector<WorkerPool::Job> jobs = {[this] { return TrainCentral(); }};
    for (size_t i = 0; i < count; ++i) {
      jobs.push_back([this, i] { return TrainLocal(i); });
      jobs.push_back([this, i] { return Score(task_.federated, 2, i); });
    }
    EDGETUNE_RETURN_IF_ERROR(measuring_.RunAll(std::move(jobs)));
    jobs.clear();
    for (size_t i = 0; i < count; ++i) {
      jobs.push_back([this, i] { return Score(central_, 1, i); });
    }
    EDGETUNE_RETURN_IF_ERROR(measuring_.RunAll(std::move(jobs)));
    return std::move(report_);
  }

 private:
  absl::Status ReadData() {
    for (const ClientExamples& client : partition_) {
      EDGETUNE_ASSIGN_OR_RETURN(data_.emplace_back(),
                                measuring_.data().Read(client.name, plan_));
    }
    return absl::OkStatus();
  }

  absl::Status ChooseClients() {
    std::vector<size_t>& chosen = report_.clients;
    chosen.resize(data_.size());
    std::iota(chosen.begin(), chosen.end(), size_t{0});
    Random(plan_.train().seed()).Split("baseline clients").Shuffle(chosen);
    std::erase_if(chosen, [this](size_t client) {
      return data_[client].heldout == nullptr;
    });
    report_.of = chosen.size();
    if (task_.clients > 0 && task_.clients < chosen.size()) {
      chosen.resize(task_.clients);
    }
    std::sort(chosen.begin(), chosen.end());
    if (!chosen.empty()) return absl::OkStatus();
    return Annotate(absl::FailedPreconditionError(
                        "no client has held-out examples to measure on"),
                    ErrorKind::kData, "raise data.holdout");
  }

  TrainConfig LocalConfig(size_t client, uint32_t round) const {
    return TrainConfigOf(
        plan_, round, {partition_[client].name, data_[client].train->size()});
  }
  TrainConfig CentralConfig(uint32_t round) const {
    return CentralConfigOf(plan_, round, {data_.size(), joined_->size()});
  }

  int64_t Total() const {
    const int64_t rounds = plan_.rounds().count();
    int64_t total = rounds * PassesOf(CentralConfig(0));
    for (const size_t client : report_.clients) {
      total += rounds * PassesOf(LocalConfig(client, 0)) +
               3 * data_[client].heldout->size();
    }
    return total;
  }

  absl::Status TrainCentral() {
    for (uint32_t round = 0; round < plan_.rounds().count(); ++round) {
      const absl::Status trained =
          measuring_.Train(CentralConfig(round), *joined_, central_);
      if (!trained.ok()) return Prefix(trained, "the central baseline");
    }
    return absl::OkStatus();
  }

  absl::Status TrainLocal(size_t i) {
    const size_t client = report_.clients[i];
    Adapter adapter = task_.initial;
    for (uint32_t round = 0; round < plan_.rounds().count(); ++round) {
      const absl::Status trained = measuring_.Train(
          LocalConfig(client, round), *data_[client].train, adapter);
      if (!trained.ok()) {
        return Prefix(trained, fmt::format("the local baseline of {}",
                                           partition_[client].name));
      }
    }
    return Score(adapter, 0, i);
  }

  absl::Status Score(const Adapter& adapter, size_t baseline, size_t i) {
    EDGETUNE_ASSIGN_OR_RETURN(
        report_.baselines[baseline].clients[i],
        measuring_.Score(adapter, *data_[report_.clients[i]].heldout));
    return absl::OkStatus();
  }

  const BaselineTask& task_;
  Measuring& measuring_;
  const v1::TaskPlan& plan_;
  const Partition& partition_;
  std::vector<LocalData> data_;  // of all clients
  std::unique_ptr<JoinedExamples> joined_;
  Adapter central_;
  BaselineReport report_;  // each job writes its own evaluation
};

}  // namespace

absl::StatusOr<BaselineReport> MeasureBaselines(const BaselineTask& task,
                                                Measuring& measuring) {
  return BaselineRun(task, measuring).Measure();
}

TrainConfig CentralConfigOf(const v1::TaskPlan& plan, uint32_t round,
                            const PooledExamples& pooled) {
  TrainConfig config = TrainConfigOf(plan, round, {"central", pooled.examples});
  const int64_t cohort = plan.rounds().cohort();
  int64_t length = plan.train().steps();  // of a client in a round, as warm-up
  if (config.epochs > 0) {
    length = config.epochs;
    const double seen = static_cast<double>(cohort * config.epochs) *
                        static_cast<double>(pooled.examples) /
                        static_cast<double>(pooled.clients);
    config.steps = static_cast<int64_t>(
        std::ceil(seen / static_cast<double>(config.batch)));
    config.epochs = 0;
  } else {
    config.steps *= cohort;
  }
  config.warmup = static_cast<int64_t>(std::llround(
      static_cast<double>(config.warmup) * static_cast<double>(config.steps) /
      static_cast<double>(length)));
  return config;
}

Evaluation TotalOf(const Baseline& baseline) {
  Evaluation total;
  for (const Evaluation& client : baseline.clients) {
    total.nll_sum += client.nll_sum;
    total.tokens += client.tokens;
  }
  return total;
}

double MeanPerplexity(const Baseline& baseline) {
  double sum = 0;
  for (const Evaluation& client : baseline.clients) sum += PerplexityOf(client);
  return sum / static_cast<double>(baseline.clients.size());
}

}  // namespace edgetune
