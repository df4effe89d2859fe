#ifndef EDGETUNE_TESTS_TRAINING_TORCH_VISION_BENCH_H_
#define EDGETUNE_TESTS_TRAINING_TORCH_VISION_BENCH_H_

// What tests of the trainer of images share: images by formula, and a model on
// disk with its trainer.

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/io/vision/vision_model.h"
#include "models/io/vision/vision_network.h"
#include "tests/testing/scratch_directory.h"
#include "training/distillation/targets.h"
#include "training/torch/vision_trainer.h"

namespace edgetune {

// `count` images; pixel(i) is the i-th value of all of them, image k is of
// class (7 k + 3) % classes.
class Images final : public ExampleSource {
 public:
  template <typename Pixel>
  Images(int64_t count, const ImageShape& shape, int64_t classes, Pixel pixel)
      : pixels_(static_cast<size_t>(count * shape.size())) {
    for (size_t i = 0; i < pixels_.size(); ++i) pixels_[i] = pixel(i);
    const auto size = static_cast<size_t>(shape.size());
    for (int64_t i = 0; i < count; ++i) {
      examples_.push_back(
          {{static_cast<int32_t>((7 * i + 3) % classes)},
           {1},
           std::span(pixels_).subspan(static_cast<size_t>(i) * size, size)});
    }
  }
  Images(const Images&) = delete;  // examples point into the pixels
  int64_t size() const override {
    return static_cast<int64_t>(examples_.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return examples_[static_cast<size_t>(index)];
  }
  const TeacherTargets* targets() const override { return taught; }
  int64_t FirstTarget(int64_t index) const override {
    return PositionsBefore(*this, index);
  }
  // All of them, in order.
  std::vector<const LabelledTokens*> All() const {
    std::vector<const LabelledTokens*> all;
    for (const LabelledTokens& example : examples_) all.push_back(&example);
    return all;
  }

  const TeacherTargets* taught = nullptr;  // what targets() says

 private:
  std::vector<uint8_t> pixels_;
  std::vector<LabelledTokens> examples_;
};

// A model on disk, its trainer and its adapter of zeros.
struct Bench {
  Bench(const ModelConfig& config, const ParameterVector& weights)
      : Bench(config, weights, InitialStatistics(*NetworkOf(config))) {}
  Bench(const ModelConfig& config, const ParameterVector& weights,
        const ParameterVector& statistics) {
    const std::string path = folder.File("model");
    EXPECT_TRUE(WriteVisionModel(path, config, weights, {}, statistics).ok());
    model = *ModelFile::Open(path);
    auto made = VisionTrainer::Make(model, {.threads = 1});
    EXPECT_TRUE(made.ok()) << made.status();
    trainer = *std::move(made);
    adapter.layout = *AdapterLayoutOf(config, {});
    adapter.values.resize(weights.size());
  }
  absl::StatusOr<TrainResult> Train(const ExampleSource& examples,
                                    const TrainConfig& config) {
    return trainer->Train(adapter, examples, config, nullptr, stop, {});
  }

  const testing::ScratchDirectory folder;
  std::shared_ptr<const ModelFile> model;
  std::unique_ptr<VisionTrainer> trainer;
  Adapter adapter;
  StopToken stop{false};
};

inline ModelConfig ConfigOf(const std::string& architecture,
                            const ImageShape& image,
                            const VisionVariant& variant = {}) {
  ModelConfig config;
  config.architecture = architecture;
  config.image = image;
  config.vocab = 10;
  config.variant = variant;
  return config;
}

inline TrainConfig Sgd(double lr, int64_t steps) {
  TrainConfig config;
  config.optimizer = OptimizerKind::kSgd;
  config.lr = lr;
  config.steps = steps;
  config.batch = config.micro_batch = 4;
  config.grad_clip = 0;
  return config;
}

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_TRAINING_TORCH_VISION_BENCH_H_
