#include "training/local_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include "base/status.h"
#include "models/io/adapter/core_adapter.h"
#include "models/step_profile.h"
#include "training/adam_w.h"
#include "training/core_gradient.h"
#include "training/optimizer.h"
#include "training/schedule.h"
#include "training/slice_gradient.h"

namespace edgetune {
namespace {

using Batch = std::vector<const LabelledTokens*>;

int64_t InputTokens(ExampleBatch examples) {
  int64_t sum = 0;
  for (const LabelledTokens* example : examples) {
    sum += static_cast<int64_t>(example->tokens.size());
  }
  return sum;
}

int64_t CountTargets(ExampleBatch examples) {
  int64_t count = 0;
  for (const LabelledTokens* example : examples) {
    count += PredictedLabels(*example);
  }
  return count;
}

struct BatchLoss {
  double nll_sum = 0;
  int64_t labelled = 0;
};

// Adds the gradient of the batch's mean loss over labelled tokens, micro-batch
// by micro-batch: the weight of each is its share of the labelled tokens, so
// the split changes nothing but memory.
BatchLoss AccumulateGradient(ExampleBatch batch, int64_t micro_batch,
                             GradientEngine& engine) {
  BatchLoss out;
  out.labelled = CountTargets(batch);
  const double weight = 1 / static_cast<double>(out.labelled);
  const auto step = static_cast<size_t>(micro_batch);
  for (size_t begin = 0; begin < batch.size(); begin += step) {
    const auto part =
        batch.subspan(begin, std::min(step, batch.size() - begin));
    out.nll_sum += engine.AddGradient(part, weight);
  }
  return out;
}

absl::Status CheckExample(const ModelConfig& model, int64_t index,
                          const LabelledTokens& example) {
  const auto wrong = [&](const std::string& what) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format("example {}: {}", index, what)),
        ErrorKind::kData);
  };
  const size_t n = example.tokens.size();
  const size_t pixels =
      model.image.has_value() ? static_cast<size_t>(model.image->size()) : 0;
  if (example.image.size() != pixels) {
    return wrong(fmt::format("an image of {} values, the model takes {}",
                             example.image.size(), pixels));
  }
  if (n != example.labelled.size()) {
    return wrong(fmt::format("{} tokens but {} label marks", n,
                             example.labelled.size()));
  }
  if (n > static_cast<size_t>(model.context)) {
    return wrong(
        fmt::format("{} tokens, the model takes at most {}", n, model.context));
  }
  for (const int32_t id : example.tokens) {
    if (id >= 0 && id < model.vocab) continue;
    return wrong(fmt::format("token {} is outside the vocabulary of {}", id,
                             model.vocab));
  }
  if (PredictedLabels(example) > 0) return absl::OkStatus();
  return wrong("no labelled token after the first");
}

absl::StatusOr<Batch> Gather(const ModelConfig& model,
                             const ExampleSource& examples,
                             std::span<const int64_t> indices) {
  const ProfileScope scope(StepPart::kBatches);
  Batch batch;
  batch.reserve(indices.size());
  for (const int64_t index : indices) {
    const LabelledTokens& example = examples.Get(index);
    EDGETUNE_RETURN_IF_ERROR(CheckExample(model, index, example));
    batch.push_back(&example);
  }
  return batch;
}

absl::Status NoExamples(const char* purpose) {
  return Annotate(
      absl::InvalidArgumentError(fmt::format("no example to {}", purpose)),
      ErrorKind::kData);
}

// The first `count` positions.
std::vector<int64_t> First(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

absl::Status CheckFinite(double loss, double norm, int64_t step) {
  if (std::isfinite(loss) && std::isfinite(norm)) return absl::OkStatus();
  return Annotate(
      absl::AbortedError(fmt::format(
          "training diverged: loss {} and gradient norm {} at step {}", loss,
          norm, step)),
      ErrorKind::kFailed, "lower the learning rate");
}

absl::Status CheckEpochs(const TrainConfig& config, int64_t examples) {
  const int64_t most = EpochSteps(config, examples);
  if (config.epochs == 0 || config.steps <= most) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "{} steps are more than the {} that {} epochs of {} "
                      "examples need",
                      config.steps, most, config.epochs, examples)),
                  ErrorKind::kConfig);
}

absl::Status CheckCorrection(const TrainConfig& config, size_t trained) {
  const size_t size = config.correction.size();
  if (size == 0 || size == trained) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "a correction of {} coordinates, {} are trained", size, trained));
}

absl::Status CheckCores(const Segment& segment) {
  const bool cores = segment.config.factors == Factors::kCore;
  if (cores == HasCores(segment.adapter.layout)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      cores ? "cores are to be trained of an adapter that has none"
            : "of an adapter with cores nothing but those is trained");
}

absl::Status CheckFrozen(const Segment& segment) {
  const int64_t frozen = segment.config.frozen_rank;
  if (frozen == 0) return absl::OkStatus();
  const int64_t rank = segment.adapter.spec.rank;
  if (frozen > 0 && frozen < rank && segment.config.factors == Factors::kBoth) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "{} frozen rank slices of an adapter of rank {}, wanted fewer than it "
      "has, and both factors trained",
      frozen, rank));
}

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start_)
        .count();
  }

 private:
  const std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
};

// A segment from where it stands to its end, or to a stop.
class SegmentRun {
 public:
  SegmentRun(const Segment& segment, GradientEngine& engine)
      : segment_(segment),
        engine_(engine),
        incoming_(engine.values().begin(), engine.values().end()),
        order_(segment.config.seed, segment.examples.size()),
        optimizer_(MakeOptimizer(segment.config, incoming_.size())) {}

  absl::StatusOr<TrainResult> Run(
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) {
    Resume();
    const int64_t steps = segment_.config.steps;
    while (at_.steps < steps && !stop.load(std::memory_order_relaxed)) {
      EDGETUNE_RETURN_IF_ERROR(Step());
      if (progress) {
        progress({at_.steps, steps, at_.last_loss,
                  static_cast<double>(at_.tokens) / at_.seconds});
      }
      if (at_.steps < steps) SaveIfDue();
    }
    if (at_.steps < steps && at_.steps > saved_.steps) Save();
    return Result();
  }

 private:
  void Resume() {
    if (segment_.checkpoints == nullptr) return;
    digest_ = SegmentDigest(segment_, segment_.checkpoints->task());
    const std::string bytes = segment_.checkpoints->Load();
    if (bytes.empty()) return;
    const auto found = ReadCheckpoint(
        std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
        digest_, segment_.config.steps, engine_.values(), *optimizer_);
    if (!found.ok()) {
      segment_.checkpoints->Refused(std::string(found.status().message()));
      return;
    }
    at_ = saved_ = *found;
    resumed_ = at_.steps;
    segment_.checkpoints->Resumed(at_.steps, segment_.config.steps);
  }

  absl::Status Step() {
    const TrainConfig& config = segment_.config;
    const Stopwatch watch;
    EDGETUNE_ASSIGN_OR_RETURN(const Batch batch,
                              Gather(segment_.model, segment_.examples,
                                     order_.Batch(config, at_.steps)));
    const std::span gradient = engine_.gradient();
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    engine_.BeginStep(at_.steps);
    const BatchLoss sum =
        AccumulateGradient(batch, config.micro_batch, engine_);
    const double loss = sum.nll_sum / static_cast<double>(sum.labelled);
    if (config.prox_mu > 0) AddProximalGradient(gradient);
    for (size_t i = 0; i < config.correction.size(); ++i) {
      gradient[i] += config.correction[i];
    }
    const double norm = ClipByGlobalNorm(gradient, config.grad_clip);
    EDGETUNE_RETURN_IF_ERROR(CheckFinite(loss, norm, at_.steps));
    optimizer_->Step(engine_.values(), gradient,
                     LearningRate(config, at_.steps));
    if (at_.steps == 0) at_.first_loss = loss;
    at_.last_loss = loss;
    at_.tokens += InputTokens(batch);
    at_.seconds += watch.Seconds();
    ++at_.steps;
    return absl::OkStatus();
  }

  // Of mu / 2 ||w - w0||^2.
  void AddProximalGradient(std::span<float> gradient) {
    const auto mu = static_cast<float>(segment_.config.prox_mu);
    const std::span<const float> values = engine_.values();
    for (size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] += mu * (values[i] - incoming_[i]);
    }
  }

  void SaveIfDue() {
    if (segment_.checkpoints == nullptr) return;
    if (segment_.checkpoints->IsDue(at_.seconds - saved_.seconds)) Save();
  }

  void Save() {
    if (segment_.checkpoints == nullptr) return;
    SaveCheckpoint(digest_, at_, engine_.values(), *optimizer_,
                   *segment_.checkpoints);
    saved_ = at_;
  }

  TrainResult Result() {
    TrainResult result;
    const std::span values = engine_.values();
    result.delta.assign(values.begin(), values.end());
    for (size_t i = 0; i < result.delta.size(); ++i) {
      result.delta[i] -= incoming_[i];
    }
    result.first_loss = at_.first_loss;
    result.last_loss = at_.last_loss;
    result.steps = at_.steps;
    result.resumed = resumed_;
    result.tokens = at_.tokens;
    result.seconds = at_.seconds;
    result.stopped = at_.steps < segment_.config.steps;
    return result;
  }

  const Segment& segment_;
  GradientEngine& engine_;
  const ParameterVector incoming_;
  ExampleOrder order_;
  const std::unique_ptr<Optimizer> optimizer_;
  Digest digest_ = {};
  SegmentProgress at_, saved_;
  int64_t resumed_ = 0;
};

// Where something else is trained than what the engine is made for; null: that.
std::unique_ptr<GradientEngine> PartOf(const Segment& segment,
                                       GradientEngine& engine) {
  const ParameterLayout& layout = segment.adapter.layout;
  if (HasCores(layout)) {
    return std::make_unique<CoreGradient>(engine, segment.adapter);
  }
  if (segment.config.frozen_rank == 0) return nullptr;
  return std::make_unique<SliceGradient>(engine,
                                         TrainedRanges(layout, segment.config));
}

}  // namespace

absl::StatusOr<Evaluation> EvaluateExamples(
    const ModelConfig& model, const ExampleSource& examples,
    int64_t max_examples, const StopToken& stop,
    const std::function<double(ExampleBatch)>& sum_nll) {
  int64_t count = examples.size();
  if (max_examples > 0) count = std::min(count, max_examples);
  if (count <= 0) return NoExamples("evaluate on");
  EDGETUNE_ASSIGN_OR_RETURN(const Batch all,
                            Gather(model, examples, First(count)));
  Evaluation out;
  out.tokens = CountTargets(all);
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    if (stop.load(std::memory_order_relaxed)) {
      return absl::CancelledError("the evaluation was stopped");
    }
    size_t tokens = 0;
    do {
      tokens += all[end++]->tokens.size();
    } while (end < all.size() &&
             tokens + all[end]->tokens.size() <= kEvaluationTokens);
    out.nll_sum += sum_nll(ExampleBatch(all).subspan(begin, end - begin));
  }
  return out;
}

absl::StatusOr<BatchGradient> ComputeBatchGradient(
    const ModelConfig& model, const ExampleSource& examples,
    int64_t micro_batch, GradientEngine& engine) {
  if (micro_batch < 1) {
    return absl::InvalidArgumentError("micro_batch must be at least 1");
  }
  EDGETUNE_ASSIGN_OR_RETURN(const Batch batch,
                            Gather(model, examples, First(examples.size())));
  if (batch.empty()) return NoExamples("train on");
  const BatchLoss loss = AccumulateGradient(batch, micro_batch, engine);
  const auto gradient = engine.gradient();
  return BatchGradient{loss.nll_sum, loss.labelled,
                       ParameterVector(gradient.begin(), gradient.end())};
}

absl::StatusOr<TrainResult> TrainSegment(
    const Segment& segment, const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress,
    GradientEngine& engine) {
  EDGETUNE_RETURN_IF_ERROR(CheckTrainConfig(segment.config));
  if (segment.examples.size() <= 0) return NoExamples("train on");
  EDGETUNE_RETURN_IF_ERROR(
      CheckEpochs(segment.config, segment.examples.size()));
  EDGETUNE_RETURN_IF_ERROR(CheckCores(segment));
  EDGETUNE_RETURN_IF_ERROR(CheckFrozen(segment));
  const std::unique_ptr<GradientEngine> part = PartOf(segment, engine);
  GradientEngine& trained = part != nullptr ? *part : engine;
  EDGETUNE_RETURN_IF_ERROR(
      CheckCorrection(segment.config, trained.values().size()));
  return SegmentRun(segment, trained).Run(stop, progress);
}

}  // namespace edgetune
