#include "training/torch/lora_trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/torch/exception_guard.h"
#include "models/torch/language_model_torch.h"
#include "models/torch/llama.h"
#include "training/adam_w.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

// Evaluation packs examples up to this many tokens a forward pass: enough for
// the matrix products, little memory without gradients.
constexpr size_t kEvaluationTokens = 1024;

using Batch = std::vector<const LabelledTokens*>;

// What the loss is taken on: rows of the packed hidden states, and the token
// that follows each.
struct Targets {
  std::vector<int64_t> rows, tokens;
};

Targets TargetsOf(std::span<const LabelledTokens* const> examples) {
  Targets out;
  int64_t begin = 0;
  for (const LabelledTokens* example : examples) {
    for (size_t i = 1; i < example->tokens.size(); ++i) {
      if (example->labelled[i] == 0) continue;
      out.rows.push_back(begin + static_cast<int64_t>(i) - 1);
      out.tokens.push_back(example->tokens[i]);
    }
    begin += static_cast<int64_t>(example->tokens.size());
  }
  return out;
}

int64_t InputTokens(std::span<const LabelledTokens* const> examples) {
  int64_t sum = 0;
  for (const LabelledTokens* example : examples) {
    sum += static_cast<int64_t>(example->tokens.size());
  }
  return sum;
}

// The summed loss of `examples` as a float64 scalar, differentiable in the
// factors when grad mode is on.
at::Tensor SumLoss(const Llama& llama, const LoraFactors& lora,
                   std::span<const LabelledTokens* const> examples) {
  std::vector<std::span<const int32_t>> sequences;
  for (const LabelledTokens* example : examples) {
    sequences.push_back(example->tokens);
  }
  const Targets targets = TargetsOf(examples);
  const at::Tensor hidden =
      llama.Hidden(sequences, &lora)
          .index_select(0, at::tensor(targets.rows, at::kLong));  // [N,D]
  const at::Tensor next = at::tensor(targets.tokens, at::kLong);  // [N]
  if (!at::GradMode::is_enabled()) {
    return llama.NllOf(hidden, next).sum(at::kDouble);
  }
  return llama.SumNllOf(hidden, next);
}

struct BatchLoss {
  double nll_sum = 0;
  int64_t labelled = 0;
};

// Adds the gradient of the batch's mean loss over labelled tokens to the
// factors', micro-batch by micro-batch: the weight of each is its share of
// the labelled tokens, so the split changes nothing but memory.
BatchLoss AccumulateGradient(const Llama& llama, const LoraFactors& lora,
                             std::span<const LabelledTokens* const> batch,
                             int64_t micro_batch) {
  BatchLoss out;
  out.labelled = static_cast<int64_t>(TargetsOf(batch).rows.size());
  const at::AutoGradMode with_grad(true);
  const auto step = static_cast<size_t>(micro_batch);
  for (size_t begin = 0; begin < batch.size(); begin += step) {
    const auto part =
        batch.subspan(begin, std::min(step, batch.size() - begin));
    const at::Tensor loss = SumLoss(llama, lora, part);
    out.nll_sum += loss.item<double>();
    (loss / static_cast<double>(out.labelled)).backward();
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
  if (TargetsOf(std::vector{&example}).rows.empty()) {
    return wrong("no labelled token after the first");
  }
  return absl::OkStatus();
}

absl::StatusOr<Batch> Gather(const ModelConfig& model,
                             const ExampleSource& examples,
                             std::span<const int64_t> indices) {
  Batch batch;
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

}  // namespace

struct LoraTrainer::Body {
  std::shared_ptr<const ModelFile> file;
  std::unique_ptr<const Llama> llama;
  bool bf16 = false;
  int threads = 1;

  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) const;
  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) const;
  absl::StatusOr<BatchGradient> ComputeGradient(const Adapter& adapter,
                                                const ExampleSource& examples,
                                                int64_t micro_batch) const;
};

absl::StatusOr<Evaluation> LoraTrainer::Body::Evaluate(
    const Adapter& adapter, const ExampleSource& examples, int64_t max_examples,
    const StopToken& stop) const {
  const at::NoGradGuard no_grad;
  EDGETUNE_ASSIGN_OR_RETURN(
      const LoraFactors lora,
      LoraFactors::Make(file->config(), adapter, /*trained=*/std::nullopt));
  int64_t count = examples.size();
  if (max_examples > 0) count = std::min(count, max_examples);
  if (count <= 0) return NoExamples("evaluate on");
  EDGETUNE_ASSIGN_OR_RETURN(const Batch all,
                            Gather(file->config(), examples, First(count)));
  Evaluation out;
  out.tokens = static_cast<int64_t>(TargetsOf(all).rows.size());
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    if (stop.load(std::memory_order_relaxed)) {
      return absl::CancelledError("the evaluation was stopped");
    }
    size_t tokens = 0;
    do {
      tokens += all[end++]->tokens.size();
    } while (end < all.size() &&
             tokens + all[end]->tokens.size() <= kEvaluationTokens);
    const auto part = std::span(all).subspan(begin, end - begin);
    out.nll_sum += SumLoss(*llama, lora, part).item<double>();
  }
  return out;
}

absl::StatusOr<BatchGradient> LoraTrainer::Body::ComputeGradient(
    const Adapter& adapter, const ExampleSource& examples,
    int64_t micro_batch) const {
  if (micro_batch < 1) {
    return absl::InvalidArgumentError("micro_batch must be at least 1");
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      LoraFactors lora,
      LoraFactors::Make(file->config(), adapter, Factors::kBoth));
  EDGETUNE_ASSIGN_OR_RETURN(const Batch batch, Gather(file->config(), examples,
                                                      First(examples.size())));
  if (batch.empty()) return NoExamples("train on");
  const BatchLoss loss = AccumulateGradient(*llama, lora, batch, micro_batch);
  return BatchGradient{
      loss.nll_sum, loss.labelled,
      ParameterVector(lora.gradient(), lora.gradient() + lora.size())};
}

absl::StatusOr<TrainResult> LoraTrainer::Body::Train(
    const Adapter& adapter, const ExampleSource& examples,
    const TrainConfig& config, const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress) const {
  EDGETUNE_RETURN_IF_ERROR(CheckTrainConfig(config));
  EDGETUNE_ASSIGN_OR_RETURN(
      LoraFactors lora,
      LoraFactors::Make(file->config(), adapter, config.factors));
  if (examples.size() <= 0) return NoExamples("train on");
  ExampleOrder order(config.seed, examples.size());
  AdamW optimizer(lora.size(), config.weight_decay);
  const std::span values(lora.values(), lora.size());
  const std::span gradient(lora.gradient(), lora.size());
  const ParameterVector incoming(values.begin(), values.end());
  TrainResult result;
  const Stopwatch watch;
  while (result.steps < config.steps) {
    if (stop.load(std::memory_order_relaxed)) {
      result.stopped = true;
      break;
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        const Batch batch,
        Gather(file->config(), examples, order.Batch(config, result.steps)));
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    const BatchLoss sum =
        AccumulateGradient(*llama, lora, batch, config.micro_batch);
    const double loss = sum.nll_sum / static_cast<double>(sum.labelled);
    const double norm = ClipByGlobalNorm(gradient, config.grad_clip);
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      return Annotate(
          absl::AbortedError(fmt::format(
              "training diverged: loss {} and gradient norm {} at step {}",
              loss, norm, result.steps)),
          ErrorKind::kFailed, "lower the learning rate");
    }
    optimizer.Step(values, gradient, LearningRate(config, result.steps));
    if (result.steps == 0) result.first_loss = loss;
    result.last_loss = loss;
    result.tokens += InputTokens(batch);
    ++result.steps;
    if (progress) {
      progress({result.steps, config.steps, loss,
                static_cast<double>(result.tokens) / watch.Seconds()});
    }
  }
  result.delta.assign(values.begin(), values.end());
  for (size_t i = 0; i < result.delta.size(); ++i) {
    result.delta[i] -= incoming[i];
  }
  return result;
}

LoraTrainer::LoraTrainer(std::unique_ptr<Body> body) : body_(std::move(body)) {}

LoraTrainer::~LoraTrainer() = default;

absl::StatusOr<std::unique_ptr<LoraTrainer>> LoraTrainer::Make(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return CatchExceptions([&]() -> absl::StatusOr<std::unique_ptr<LoraTrainer>> {
    auto body = std::make_unique<Body>();
    body->file = std::move(model);
    body->threads = ThreadCount(options.threads);
    body->bf16 = options.precision == Precision::kAuto
                     ? CpuMultipliesBf16()
                     : options.precision == Precision::kBf16;
    at::set_num_threads(body->threads);
    EDGETUNE_ASSIGN_OR_RETURN(
        body->llama,
        Llama::Load(*body->file, body->bf16 ? at::kBFloat16 : at::kFloat));
    return std::unique_ptr<LoraTrainer>(new LoraTrainer(std::move(body)));
  });
}

const ModelConfig& LoraTrainer::model() const { return body_->file->config(); }

std::string LoraTrainer::precision() const {
  return body_->bf16 ? "bf16" : "fp32";
}

// at::set_num_threads acts on the calling thread, which may be another than
// the one that made this.
absl::StatusOr<Evaluation> LoraTrainer::Evaluate(const Adapter& adapter,
                                                 const ExampleSource& examples,
                                                 int64_t max_examples,
                                                 const StopToken& stop) {
  return CatchExceptions([&] {
    at::set_num_threads(body_->threads);
    return body_->Evaluate(adapter, examples, max_examples, stop);
  });
}

absl::StatusOr<TrainResult> LoraTrainer::Train(
    const Adapter& adapter, const ExampleSource& examples,
    const TrainConfig& config, TrainerState& state, const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress) {
  return CatchExceptions([&] {
    at::set_num_threads(body_->threads);
    return body_->Train(adapter, examples, config, stop, progress);
  });
}

absl::StatusOr<BatchGradient> LoraTrainer::ComputeGradient(
    const Adapter& adapter, const ExampleSource& examples,
    int64_t micro_batch) {
  return CatchExceptions([&] {
    at::set_num_threads(body_->threads);
    return body_->ComputeGradient(adapter, examples, micro_batch);
  });
}

}  // namespace edgetune
