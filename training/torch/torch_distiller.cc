#include "training/torch/torch_distiller.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/io/text_weights.h"
#include "models/torch/language_model_torch.h"
#include "models/torch/llama.h"
#include "training/distillation/targets.h"
#include "training/distillation/teacher_walk.h"
#include "training/torch/distillation_gradient.h"

namespace edgetune {
namespace {

constexpr char kProjection[] = "distillation.projection";

// Weights that nobody writes to while the tensor is there.
at::Tensor ViewOf(std::span<const float> values) {
  return at::from_blob(const_cast<float*>(values.data()),
                       {static_cast<int64_t>(values.size())}, at::kFloat);
}

// That they are of these examples TargetRows sees.
absl::Status CheckTargets(const TeacherTargets* targets,
                          const DistillationConfig& config) {
  if (targets == nullptr) return absl::OkStatus();
  if (config.NeedsTeacher()) {
    return absl::FailedPreconditionError(
        "hidden states are compared with a teacher's, not with a cache's");
  }
  if (targets->temperature() == config.temperature) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("targets at temperature {}, wanted at {}",
                  targets->temperature(), config.temperature));
}

// The student's weights and, where its width is not the teacher's, the
// projection: as an adapter, which is what a segment of training has.
absl::StatusOr<Adapter> StartOf(const ParameterLayout& layout,
                                ParameterVector weights, int64_t teacher_width,
                                int64_t width, double hidden, uint64_t seed) {
  Adapter out;
  out.layout = layout;
  out.values = std::move(weights);
  if (hidden == 0 || teacher_width == width) return out;
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    tensors.emplace_back(tensor.name, tensor.shape);
  }
  tensors.push_back({kProjection, {teacher_width, width}});
  EDGETUNE_ASSIGN_OR_RETURN(out.layout,
                            ParameterLayout::Make(std::move(tensors)));
  Random random = Random(seed).Split(kProjection);
  const double deviation = 1 / std::sqrt(static_cast<double>(width));
  while (out.values.size() < out.layout.size()) {
    out.values.push_back(static_cast<float>(random.Normal() * deviation));
  }
  return out;
}

}  // namespace

struct TorchDistiller::Body {
  FrozenTeacher teacher;
  ModelConfig student;
  ParameterLayout layout;
  int threads = 1;

  absl::Status CheckWeights(size_t count) const {
    if (count == layout.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "{} weights, a student of this shape has {}", count, layout.size()));
  }

  // What a segment of training begins with, once all of it was looked at; the
  // teacher is then open, unless nothing asks for it.
  absl::StatusOr<Adapter> Start(ParameterVector weights,
                                const ExampleSource& examples,
                                const DistillationConfig& config,
                                uint64_t seed);

  absl::StatusOr<Evaluation> Score(const Llama& llama,
                                   const ExampleSource& examples, int64_t most,
                                   const StopToken& stop) const {
    const at::NoGradGuard no_grad;
    return EvaluateExamples(
        student, examples, most, stop, [&](ExampleBatch part) {
          const PackedTargets packed(part);
          return llama.NllOf(HiddenAt(llama, packed), packed.next)
              .sum(at::kDouble)
              .item<double>();
        });
  }
};

absl::StatusOr<Adapter> TorchDistiller::Body::Start(
    ParameterVector weights, const ExampleSource& examples,
    const DistillationConfig& config, uint64_t seed) {
  EDGETUNE_RETURN_IF_ERROR(CheckDistillationConfig(config));
  EDGETUNE_RETURN_IF_ERROR(CheckWeights(weights.size()));
  EDGETUNE_RETURN_IF_ERROR(CheckTargets(examples.targets(), config));
  if (examples.targets() == nullptr &&
      (config.alpha > 0 || config.hidden > 0)) {
    EDGETUNE_RETURN_IF_ERROR(CheckTeacherContext(teacher.config(), examples));
    EDGETUNE_RETURN_IF_ERROR(teacher.Open());
  }
  return StartOf(layout, std::move(weights), teacher.config().hidden,
                 student.hidden, config.hidden, seed);
}

TorchDistiller::TorchDistiller(std::unique_ptr<Body> body)
    : body_(std::move(body)) {}

TorchDistiller::~TorchDistiller() = default;

absl::StatusOr<std::unique_ptr<TorchDistiller>> TorchDistiller::Make(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    std::vector<int32_t> teacher_tokens, const EngineOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckTeacherTokens(teacher->config(), student, teacher_tokens));
  EDGETUNE_ASSIGN_OR_RETURN(ParameterLayout layout, TextLayoutOf(student));
  auto body = std::make_unique<Body>(Body{
      .teacher = FrozenTeacher(std::move(teacher), std::move(teacher_tokens),
                               options.precision),
      .student = student,
      .layout = std::move(layout),
      .threads = ThreadCount(options.threads)});
  return std::unique_ptr<TorchDistiller>(new TorchDistiller(std::move(body)));
}

// at::set_num_threads acts on the calling thread.
absl::StatusOr<Evaluation> TorchDistiller::Evaluate(
    std::span<const float> weights, const ExampleSource& examples,
    int64_t max_examples, const StopToken& stop) {
  return CatchExceptions([&]() -> absl::StatusOr<Evaluation> {
    at::set_num_threads(body_->threads);
    EDGETUNE_RETURN_IF_ERROR(body_->CheckWeights(weights.size()));
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto llama,
        Llama::Over(body_->student, ViewOf(weights), at::Tensor()));
    return body_->Score(*llama, examples, max_examples, stop);
  });
}

absl::StatusOr<DistilledStudent> TorchDistiller::Train(
    ParameterVector weights, const ExampleSource& examples,
    const TrainConfig& train, const DistillationConfig& config,
    const HeldOut& held_out, CheckpointStore* checkpoints,
    const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress) {
  return CatchExceptions([&]() -> absl::StatusOr<DistilledStudent> {
    at::set_num_threads(body_->threads);
    EDGETUNE_ASSIGN_OR_RETURN(
        const Adapter start,
        body_->Start(std::move(weights), examples, config, train.seed));
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto gradient,
        DistillationGradient::Make(body_->teacher, body_->student, start,
                                   examples, config));
    absl::Status scored;
    const auto on_step = [&](const TrainProgress& at) {
      if (progress) progress(at);
      if (held_out.examples == nullptr || held_out.every == 0 ||
          at.step % held_out.every != 0) {
        return;
      }
      const auto score = body_->Score(gradient->student(), *held_out.examples,
                                      held_out.most, stop);
      if (score.ok()) held_out.measured(at.step, *score);
      // A stop ends the training itself, between two steps.
      if (!absl::IsCancelled(score.status())) scored.Update(score.status());
    };
    const Segment segment = {
        fmt::format("distillation fp32, teacher {}, T {} alpha {} entropy {} "
                    "hidden {}{}{}",
                    body_->teacher.bf16() ? "bf16" : "fp32", config.temperature,
                    config.alpha, config.entropy, config.hidden,
                    config.keep_zeros ? " zeros kept" : "",
                    examples.targets() == nullptr ? "" : ", its targets"),
        body_->student,
        start,
        examples,
        train,
        checkpoints};
    DistilledStudent out;
    EDGETUNE_ASSIGN_OR_RETURN(out.result,
                              TrainSegment(segment, stop, on_step, *gradient));
    EDGETUNE_RETURN_IF_ERROR(scored);
    out.result.delta = {};
    const auto values = gradient->values().first(body_->layout.size());
    out.weights.assign(values.begin(), values.end());
    return out;
  });
}

absl::StatusOr<BatchGradient> TorchDistiller::ComputeGradient(
    const ParameterVector& weights, const ExampleSource& examples,
    int64_t micro_batch, const DistillationConfig& config) {
  return CatchExceptions([&]() -> absl::StatusOr<BatchGradient> {
    at::set_num_threads(body_->threads);
    EDGETUNE_ASSIGN_OR_RETURN(
        const Adapter start,
        body_->Start(weights, examples, config, /*seed=*/1));
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto gradient,
        DistillationGradient::Make(body_->teacher, body_->student, start,
                                   examples, config));
    return ComputeBatchGradient(body_->student, examples, micro_batch,
                                *gradient);
  });
}

}  // namespace edgetune
