#include "training/torch/vision_teacher.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/io/vision/vision_model.h"
#include "training/distillation/teacher_walk.h"
#include "training/torch/vision_trainer.h"

namespace edgetune {
namespace {

// log of the sum of exponentials; -inf of nothing.
double LogSumExp(const std::vector<double>& values) {
  if (values.empty()) return -std::numeric_limits<double>::infinity();
  const double most = *std::ranges::max_element(values);
  double sum = 0;
  for (const double value : values) sum += std::exp(value - most);
  return most + std::log(sum);
}

// The k likeliest of these logits at a temperature; equal ones in order.
TopTokens TopOf(std::span<const float> logits, double temperature, size_t k) {
  std::vector<double> scaled(logits.begin(), logits.end());
  for (double& value : scaled) value /= temperature;
  const double all = LogSumExp(scaled);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(), [&](int32_t id) {
    return logits[static_cast<size_t>(id)];
  });
  std::vector<double> others;
  for (size_t i = k; i < order.size(); ++i) {
    others.push_back(scaled[static_cast<size_t>(order[i])]);
  }
  TopTokens top;
  top.ids.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
  std::ranges::sort(top.ids);
  for (const int32_t id : top.ids) {
    top.log_probabilities.push_back(
        static_cast<float>(scaled[static_cast<size_t>(id)] - all));
  }
  top.log_rest = static_cast<float>(LogSumExp(others) - all);
  return top;
}

class VisionTeacher final : public Teacher {
 public:
  VisionTeacher(std::unique_ptr<VisionTrainer> model, Adapter nothing,
                ModelConfig student)
      : model_(std::move(model)),
        nothing_(std::move(nothing)),
        student_(std::move(student)) {}

  absl::StatusOr<Evaluation> Evaluate(const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    return model_->Evaluate(nothing_, examples, max_examples, stop);
  }

  absl::Status ComputeTargets(
      const ExampleSource& examples, double temperature, int64_t k,
      const std::function<absl::Status(const TopTokens&)>& take,
      const StopToken& stop,
      const std::function<void(int64_t)>& progress) override {
    absl::Status computed;
    const absl::Status walked =
        WalkTargets(model_->model(), student_, examples, temperature, k, take,
                    stop, progress, [&](ExampleBatch part) {
                      const auto logits = model_->ComputeLogits(nothing_, part);
                      computed.Update(logits.status());
                      std::vector<TopTokens> rows;
                      if (!logits.ok()) return rows;
                      const size_t classes = logits->size() / part.size();
                      for (size_t i = 0; i < part.size(); ++i) {
                        rows.push_back(TopOf(
                            std::span(*logits).subspan(i * classes, classes),
                            temperature, static_cast<size_t>(k)));
                      }
                      return rows;
                    });
    EDGETUNE_RETURN_IF_ERROR(computed);
    return walked;
  }

 private:
  const std::unique_ptr<VisionTrainer> model_;
  const Adapter nothing_;  // the model as it is
  const ModelConfig student_;
};

absl::Status CheckImages(const ModelConfig& teacher,
                         const ModelConfig& student) {
  if (student.image.has_value() && *student.image == *teacher.image &&
      student.vocab == teacher.vocab) {
    return absl::OkStatus();
  }
  const auto shape = [](const ModelConfig& model) {
    return model.image.has_value()
               ? fmt::format("{} x {} x {} and {} classes",
                             model.image->channels, model.image->height,
                             model.image->width, model.vocab)
               : "texts";
  };
  return Annotate(absl::InvalidArgumentError(
                      fmt::format("the teacher is one of images of {}, the "
                                  "student of {}",
                                  shape(teacher), shape(student))),
                  ErrorKind::kModel,
                  "both tell the same classes of the same "
                  "images apart");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Teacher>> MakeVisionTeacher(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    const EngineOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(CheckImages(teacher->config(), student));
  Adapter nothing;
  EDGETUNE_ASSIGN_OR_RETURN(nothing.layout,
                            AdapterLayoutOf(teacher->config(), AdapterSpec()));
  nothing.values.assign(nothing.layout.size(), 0.0f);
  EngineOptions fp32 = options;
  fp32.precision = Precision::kAuto;
  EDGETUNE_ASSIGN_OR_RETURN(auto model,
                            VisionTrainer::Make(std::move(teacher), fp32));
  return std::make_unique<VisionTeacher>(std::move(model), std::move(nothing),
                                         student);
}

}  // namespace edgetune
