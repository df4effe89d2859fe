#include "training/torch/vision_trainer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/io/vision/vision_model.h"
#include "models/torch/language_model_torch.h"
#include "models/torch/vision_net.h"
#include "training/distillation/targets.h"
#include "training/torch/top_targets.h"

namespace edgetune {
namespace {

// Images of one pass of an evaluation: their activations stay in the caches.
constexpr size_t kEvaluationImages = 50;

at::Tensor ChannelsOf(const std::vector<double>& values) {
  const std::vector<float> rounded(values.begin(), values.end());
  return at::tensor(rounded).view({1, -1, 1, 1});
}

// [N,C,H,W], as the model is given them.
at::Tensor ImagesOf(ExampleBatch examples, const ModelConfig& model) {
  const ImageShape& shape = *model.image;
  const auto n = static_cast<int64_t>(examples.size());
  const at::Tensor out =
      at::empty({n, shape.channels, shape.height, shape.width}, at::kFloat);
  float* to = out.data_ptr<float>();
  for (const LabelledTokens* example : examples) {
    for (const uint8_t value : example->image) {
      *to++ = static_cast<float>(value) / 255;
    }
  }
  if (model.pixels.mean.empty()) return out;
  return out.sub(ChannelsOf(model.pixels.mean))
      .div(ChannelsOf(model.pixels.deviation));
}

at::Tensor ClassesOf(ExampleBatch examples) {
  const at::Tensor out =
      at::empty({static_cast<int64_t>(examples.size())}, at::kLong);
  int64_t* to = out.data_ptr<int64_t>();
  for (const LabelledTokens* example : examples) *to++ = example->tokens[0];
  return out;
}

// The summed loss of `examples`, float32 on the logits' own terms.
at::Tensor SumLoss(const at::Tensor& logits, const at::Tensor& classes) {
  return at::cross_entropy_loss(logits, classes, /*weight=*/{},
                                at::Reduction::Sum);
}

class VisionGradient final : public GradientEngine {
 public:
  // With a seed as in training: `seed` decides what dropout and stochastic
  // depth draw. `teacher` may be null; `teacher_alpha` as of TrainConfig.
  // `model` outlives this.
  VisionGradient(VisionNet net, const ModelConfig& model,
                 std::optional<uint64_t> seed,
                 std::unique_ptr<const TargetRows> teacher,
                 double teacher_alpha)
      : net_(std::move(net)),
        model_(model),
        seed_(seed),
        teacher_(std::move(teacher)),
        teacher_alpha_(teacher_alpha) {
    if (seed_.has_value()) {
      random_ = at::make_generator<at::CPUGeneratorImpl>(*seed_);
    }
  }

  std::span<float> values() override { return net_.values(); }
  std::span<float> gradient() override { return net_.gradient(); }
  void BeginStep(int64_t step) override {
    if (!random_.has_value()) return;
    random_->set_current_seed(
        Random(*seed_).Split("dropout", static_cast<uint64_t>(step)).Next());
  }
  double AddGradient(ExampleBatch examples, double weight) override {
    const at::AutoGradMode with_grad(true);
    const at::Tensor logits = net_.Logits(ImagesOf(examples, model_), random_);
    const at::Tensor classes = ClassesOf(examples);
    const at::Tensor loss = teacher_ == nullptr
                                ? SumLoss(logits, classes)
                                : SumTaughtLoss(logits, classes, examples);
    (loss * weight).backward();
    return loss.item<double>();
  }

 private:
  // Logits are the states of a head that leaves them as they are.
  at::Tensor SumTaughtLoss(const at::Tensor& logits, const at::Tensor& classes,
                           ExampleBatch examples) const {
    return SumDistillation(logits, at::eye(logits.size(1)), classes,
                           TopTargetsOf(*teacher_, examples, logits.size(0)),
                           WeightsOf(*teacher_, teacher_alpha_));
  }

  VisionNet net_;
  const ModelConfig& model_;
  const std::optional<uint64_t> seed_;
  std::unique_ptr<const TargetRows> teacher_;
  double teacher_alpha_;
  c10::optional<at::Generator> random_;
};

}  // namespace

struct VisionTrainer::Body {
  std::shared_ptr<const ModelFile> file;
  ParameterVector base, statistics;
  int threads = 1;

  absl::StatusOr<VisionNet> NetAt(const Adapter& adapter) const {
    return VisionNet::Make(file->config(), base, statistics, adapter);
  }

  absl::StatusOr<VisionGradient> GradientAt(const Adapter& adapter,
                                            std::optional<uint64_t> seed,
                                            const ExampleSource& examples,
                                            double teacher_alpha) const {
    EDGETUNE_ASSIGN_OR_RETURN(VisionNet net, NetAt(adapter));
    EDGETUNE_ASSIGN_OR_RETURN(auto teacher, TargetRows::Of(examples));
    return VisionGradient(std::move(net), file->config(), seed,
                          std::move(teacher), teacher_alpha);
  }

  // fn(part, logits of it) for all examples of a batch, without gradients.
  template <typename Fn>
  void ForLogits(const VisionNet& net, ExampleBatch batch, const Fn& fn) const {
    for (size_t begin = 0; begin < batch.size(); begin += kEvaluationImages) {
      const auto part = batch.subspan(
          begin, std::min(kEvaluationImages, batch.size() - begin));
      fn(part, net.Logits(ImagesOf(part, file->config()), c10::nullopt));
    }
  }
};

VisionTrainer::VisionTrainer(std::unique_ptr<Body> body)
    : body_(std::move(body)) {}

VisionTrainer::~VisionTrainer() = default;

absl::StatusOr<std::unique_ptr<VisionTrainer>> VisionTrainer::Make(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  if (options.precision != Precision::kAuto &&
      options.precision != Precision::kFp32) {
    return Annotate(absl::InvalidArgumentError(
                        "vision models are trained in float32 alone"),
                    ErrorKind::kConfig, "take model.precision = \"fp32\"");
  }
  auto body = std::make_unique<Body>();
  body->file = std::move(model);
  body->threads = ThreadCount(options.threads);
  EDGETUNE_ASSIGN_OR_RETURN(body->base, ReadVisionWeights(*body->file));
  EDGETUNE_ASSIGN_OR_RETURN(body->statistics,
                            ReadVisionStatistics(*body->file));
  return std::unique_ptr<VisionTrainer>(new VisionTrainer(std::move(body)));
}

const ModelConfig& VisionTrainer::model() const {
  return body_->file->config();
}

// at::set_num_threads acts on the calling thread, which may be another than
// the one that made this.
absl::StatusOr<Evaluation> VisionTrainer::Evaluate(
    const Adapter& adapter, const ExampleSource& examples, int64_t max_examples,
    const StopToken& stop) {
  return CatchExceptions([&]() -> absl::StatusOr<Evaluation> {
    at::set_num_threads(body_->threads);
    const at::NoGradGuard no_grad;
    EDGETUNE_ASSIGN_OR_RETURN(const VisionNet net, body_->NetAt(adapter));
    int64_t correct = 0;
    const auto sum_nll = [&](ExampleBatch batch) {
      double nll = 0;
      body_->ForLogits(net, batch, [&](ExampleBatch part, at::Tensor logits) {
        const at::Tensor classes = ClassesOf(part);
        nll += SumLoss(logits, classes).item<double>();
        correct += logits.argmax(1).eq(classes).sum().item<int64_t>();
      });
      return nll;
    };
    EDGETUNE_ASSIGN_OR_RETURN(
        Evaluation evaluation,
        EvaluateExamples(model(), examples, max_examples, stop, sum_nll));
    evaluation.correct = correct;
    return evaluation;
  });
}

absl::StatusOr<TrainResult> VisionTrainer::Train(
    const Adapter& adapter, const ExampleSource& examples,
    const TrainConfig& config, CheckpointStore* checkpoints,
    const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress) {
  return CatchExceptions([&]() -> absl::StatusOr<TrainResult> {
    at::set_num_threads(body_->threads);
    EDGETUNE_ASSIGN_OR_RETURN(VisionGradient gradient,
                              body_->GradientAt(adapter, config.seed, examples,
                                                config.teacher_alpha));
    const Segment segment = {"vision fp32", model(), adapter,
                             examples,      config,  checkpoints};
    return TrainSegment(segment, stop, progress, gradient);
  });
}

absl::StatusOr<BatchGradient> VisionTrainer::ComputeGradient(
    const Adapter& adapter, const ExampleSource& examples, int64_t micro_batch,
    double teacher_alpha) {
  return CatchExceptions([&]() -> absl::StatusOr<BatchGradient> {
    at::set_num_threads(body_->threads);
    EDGETUNE_ASSIGN_OR_RETURN(
        VisionGradient gradient,
        body_->GradientAt(adapter, std::nullopt, examples, teacher_alpha));
    return ComputeBatchGradient(model(), examples, micro_batch, gradient);
  });
}

absl::StatusOr<std::vector<float>> VisionTrainer::ComputeLogits(
    const Adapter& adapter, ExampleBatch examples) {
  return CatchExceptions([&]() -> absl::StatusOr<std::vector<float>> {
    at::set_num_threads(body_->threads);
    const at::NoGradGuard no_grad;
    EDGETUNE_ASSIGN_OR_RETURN(const VisionNet net, body_->NetAt(adapter));
    std::vector<float> out;
    body_->ForLogits(net, examples,
                     [&](ExampleBatch, const at::Tensor& logits) {
                       const at::Tensor flat = logits.contiguous();
                       out.insert(out.end(), flat.data_ptr<float>(),
                                  flat.data_ptr<float>() + flat.numel());
                     });
    return out;
  });
}

}  // namespace edgetune
