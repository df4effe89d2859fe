// Vision models against PyTorch (make_vision_vectors.py), and what local
// training does with all parameters.

#include "training/torch/vision_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/training_torch/vision_bench.h"

namespace edgetune {
namespace {

using nlohmann::json;

// The maker's mixed().
uint64_t Mixed(uint64_t place) {
  return (place * 2654435761u + 12345) % (uint64_t{1} << 32);
}

Images ImagesOf(int64_t count, const ImageShape& shape, int64_t classes) {
  return Images(count, shape, classes,
                [](size_t i) { return static_cast<uint8_t>(Mixed(i) >> 24); });
}

// The networks that the maker describes itself.
const std::vector<std::string>& SmallNetworks() {
  static const auto& names =
      *new std::vector<std::string>{"mcmahan_2nn", "mcmahan_cnn", "pfl_cnn"};
  return names;
}

// The maker's weights_of().
ParameterVector FormulaWeights(const VisionNetwork& network) {
  ParameterVector values;
  for (const VisionLayer& layer : network.layers) {
    if (!layer.has_parameters()) continue;
    const int64_t count = layer.out * (layer.fan_in() + 1);
    const double bound = 1 / std::sqrt(static_cast<double>(layer.fan_in()));
    for (int64_t i = 0; i < count; ++i) {
      const auto draw = static_cast<double>(Mixed(values.size()));
      values.push_back(static_cast<float>((draw / 0x1p31 - 1) * bound));
    }
  }
  return values;
}

json Vectors() {
  return json::parse(
      std::ifstream(std::string(EDGETUNE_SOURCE_DIR) +
                    "/tests/training_torch/vectors/vision.json"))["cases"];
}

void ExpectSameState(const json& given, const ParameterLayout& layout) {
  ASSERT_EQ(layout.size(), given["parameters"].get<size_t>());
  ASSERT_EQ(layout.tensors().size(), given["tensors"].size());
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    EXPECT_EQ(layout.tensors()[i].name, given["tensors"][i]["name"]);
    EXPECT_EQ(layout.tensors()[i].shape,
              given["tensors"][i]["shape"].get<std::vector<int64_t>>());
  }
}

void ExpectSameGradient(const json& given, const ParameterLayout& layout,
                        const ParameterVector& gradient) {
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const ParameterLayout::Tensor& tensor = layout.tensors()[i];
    const json& wanted = given["tensors"][i];
    double squares = 0;
    for (size_t j = 0; j < tensor.count; ++j) {
      const double g = gradient[tensor.offset + j];
      squares += g * g;
    }
    const auto norm = wanted["norm"].get<double>();
    EXPECT_NEAR(std::sqrt(squares), norm, 1e-4 * norm) << tensor.name;
    const auto step = wanted["step"].get<size_t>();
    const auto samples = wanted["gradient"].get<std::vector<double>>();
    ASSERT_GE(samples.size(), 2);
    for (size_t j = 0; j < samples.size(); ++j) {
      EXPECT_NEAR(gradient[tensor.offset + j * step], samples[j], 1e-4 * norm)
          << tensor.name << " at " << j * step;
    }
  }
}

// float32 sums in another order differ by some 1e-6 of their size.
TEST(VisionTrainerTest, LogitsAndGradientsAreThoseOfPyTorch) {
  const json cases = Vectors();
  ASSERT_EQ(cases.size(), SmallNetworks().size());
  for (const json& given : cases) {
    const auto shape = given["shape"].get<std::vector<int64_t>>();
    const ModelConfig config =
        ConfigOf(given["architecture"], {shape[0], shape[1], shape[2]});
    Bench bench(config, FormulaWeights(*NetworkOf(config)));
    ExpectSameState(given, bench.adapter.layout);
    const Images images = ImagesOf(3, *config.image, config.vocab);
    const auto logits =
        bench.trainer->ComputeLogits(bench.adapter, images.All());
    ASSERT_TRUE(logits.ok()) << logits.status();
    const auto wanted = given["logits"].get<std::vector<double>>();
    ASSERT_EQ(logits->size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR((*logits)[i], wanted[i], 1e-4) << given["architecture"];
    }
    // In parts, which change nothing.
    const auto gradient =
        bench.trainer->ComputeGradient(bench.adapter, images, 2);
    ASSERT_TRUE(gradient.ok()) << gradient.status();
    EXPECT_NEAR(gradient->nll_sum, given["loss"].get<double>(), 1e-4);
    ExpectSameGradient(given, bench.adapter.layout, gradient->gradient);
  }
}

ModelConfig SmallConfig(const std::string& architecture) {
  return ConfigOf(architecture, {1, 8, 8});
}

TEST(VisionTrainerTest, OneStepOfSgdIsTheGradient) {
  const ModelConfig config = SmallConfig("mcmahan_cnn");
  Bench bench(config, InitialWeights(*NetworkOf(config), 1));
  const Images images = ImagesOf(4, *config.image, 10);
  const auto result = bench.Train(images, Sgd(0.5, 1));
  ASSERT_TRUE(result.ok()) << result.status();
  const auto gradient =
      bench.trainer->ComputeGradient(bench.adapter, images, 4);
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  ASSERT_EQ(result->delta.size(), bench.adapter.values.size());
  // The delta is a difference of weights of at most 0.2 in float32.
  for (size_t i = 0; i < result->delta.size(); ++i) {
    ASSERT_NEAR(result->delta[i], -0.5 * gradient->gradient[i], 1e-6) << i;
  }
}

TEST(VisionTrainerTest, AnAdapterIsWhatIsAddedToTheWeights) {
  const ModelConfig config = SmallConfig("mcmahan_2nn");
  const ParameterVector weights = InitialWeights(*NetworkOf(config), 1);
  Bench bench(config, weights);
  const Images images = ImagesOf(6, *config.image, 10);
  // Halves: their sums are exact.
  for (size_t i = 0; i < weights.size(); ++i) {
    bench.adapter.values[i] = weights[i];
  }
  ParameterVector doubled = weights;
  for (float& value : doubled) value *= 2;
  Bench other(config, doubled);
  const auto a = bench.trainer->Evaluate(bench.adapter, images, 0, bench.stop);
  const auto b = other.trainer->Evaluate(other.adapter, images, 0, other.stop);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->nll_sum, b->nll_sum);
  EXPECT_EQ(a->tokens, 6);
  EXPECT_EQ(a->correct, b->correct);
}

TEST(VisionTrainerTest, WeightDecayShrinksWeightsAndNotTheirChange) {
  const ModelConfig config = SmallConfig("mcmahan_2nn");
  const ParameterVector weights = InitialWeights(*NetworkOf(config), 1);
  Bench bench(config, weights);
  const Images images = ImagesOf(4, *config.image, 10);
  const auto plain = bench.Train(images, Sgd(0.5, 1));
  TrainConfig decayed = Sgd(0.5, 1);
  decayed.weight_decay = 0.1;
  const auto result = bench.Train(images, decayed);
  ASSERT_TRUE(plain.ok() && result.ok());
  for (size_t i = 0; i < weights.size(); ++i) {
    ASSERT_NEAR(result->delta[i] - plain->delta[i], -0.05 * weights[i], 1e-6);
  }
}

// A head on a frozen backbone: the others' weights stay, their gradient is not
// taken.
TEST(VisionTrainerTest, PartsTrainAsTheyDoWithinTheWhole) {
  const ModelConfig config = SmallConfig("mcmahan_cnn");
  Bench bench(config, InitialWeights(*NetworkOf(config), 1));
  const Images images = ImagesOf(4, *config.image, 10);
  const auto all = bench.trainer->ComputeGradient(bench.adapter, images, 4);
  ASSERT_TRUE(all.ok()) << all.status();
  const ParameterLayout whole = bench.adapter.layout;
  bench.adapter.spec.targets = {"conv2.bias", "fc2"};
  bench.adapter.layout = *AdapterLayoutOf(config, bench.adapter.spec);
  bench.adapter.values.assign(bench.adapter.layout.size(), 0);
  const auto part = bench.trainer->ComputeGradient(bench.adapter, images, 4);
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(part->nll_sum, all->nll_sum);
  const auto step = bench.Train(images, Sgd(0.5, 1));
  ASSERT_TRUE(step.ok()) << step.status();
  ASSERT_EQ(step->delta.size(), 64 + 512 * 10 + 10);
  for (const auto& tensor : bench.adapter.layout.tensors()) {
    const auto in_whole = std::ranges::find(whole.tensors(), tensor.name,
                                            &ParameterLayout::Tensor::name);
    for (size_t i = 0; i < tensor.count; ++i) {
      const size_t at = tensor.offset + i;
      ASSERT_EQ(part->gradient[at], all->gradient[in_whole->offset + i])
          << tensor.name << " at " << i;
      ASSERT_NEAR(step->delta[at], -0.5 * part->gradient[at], 1e-6);
    }
  }
}

TEST(VisionTrainerTest, LearnsItsImagesAndCountsThem) {
  const ModelConfig config = SmallConfig("mcmahan_2nn");
  Bench bench(config, InitialWeights(*NetworkOf(config), 1));
  const Images images = ImagesOf(20, *config.image, 10);
  const auto before =
      bench.trainer->Evaluate(bench.adapter, images, 0, bench.stop);
  const auto result = bench.Train(images, Sgd(0.1, 1000));
  ASSERT_TRUE(before.ok() && result.ok()) << result.status();
  EXPECT_LT(before->correct, 12);
  EXPECT_NEAR(before->nll_sum / 20, std::log(10), 0.3);
  bench.adapter.values = result->delta;
  const auto after =
      bench.trainer->Evaluate(bench.adapter, images, 0, bench.stop);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_GE(after->correct, 18);
  EXPECT_EQ(result->tokens, 4000);
}

TEST(VisionTrainerTest, TheSameSeedGivesTheSameBitsAlsoWithDropout) {
  for (const std::string& architecture : SmallNetworks()) {
    const ModelConfig config = SmallConfig(architecture);
    Bench bench(config, InitialWeights(*NetworkOf(config), 1));
    const Images images = ImagesOf(12, *config.image, 10);
    TrainConfig train = Sgd(0.1, 5);
    const auto once = bench.Train(images, train);
    const auto again = bench.Train(images, train);
    ASSERT_TRUE(once.ok() && again.ok()) << once.status();
    EXPECT_EQ(once->delta, again->delta) << architecture;
    train.seed = 2;
    const auto other = bench.Train(images, train);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_NE(once->delta, other->delta) << architecture;
  }
}

// Keeps what was saved last; saving is due after each step.
class MemoryStore final : public CheckpointStore {
 public:
  std::string task() const override { return "task"; }
  bool IsDue(double /*seconds*/) const override { return true; }
  std::string Load() override { return bytes; }
  void Save(std::span<const std::span<const uint8_t>> parts) override {
    bytes.clear();
    for (const auto& part : parts) bytes.append(part.begin(), part.end());
  }
  void Resumed(int64_t step, int64_t) override { resumed = step; }
  void Refused(const std::string& why) override { refused = why; }

  std::string bytes, refused;
  int64_t resumed = 0;
};

TEST(VisionTrainerTest, GoesOnAfterAStopToTheSameBits) {
  const ModelConfig config = SmallConfig("pfl_cnn");
  Bench bench(config, InitialWeights(*NetworkOf(config), 1));
  const Images images = ImagesOf(12, *config.image, 10);
  const TrainConfig train = Sgd(0.1, 6);
  const auto whole = bench.Train(images, train);
  ASSERT_TRUE(whole.ok()) << whole.status();
  MemoryStore store;
  StopToken stop{false};
  const auto begun = bench.trainer->Train(
      bench.adapter, images, train, &store, stop,
      [&](const TrainProgress& at) { stop = at.step == 3; });
  ASSERT_TRUE(begun.ok() && begun->stopped) << begun.status();
  const auto rest = bench.trainer->Train(bench.adapter, images, train, &store,
                                         bench.stop, {});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(store.resumed, 3) << store.refused;
  EXPECT_EQ(rest->delta, whole->delta);
}

TEST(VisionTrainerTest, WhatIsNoImageOfTheModelIsRefused) {
  const ModelConfig config = SmallConfig("mcmahan_2nn");
  Bench bench(config, InitialWeights(*NetworkOf(config), 1));
  const Images larger = ImagesOf(4, {1, 9, 8}, 10);
  EXPECT_TRUE(
      absl::IsInvalidArgument(bench.Train(larger, Sgd(0.1, 1)).status()));
  const Images others = ImagesOf(1, *config.image, 11);  // of class 3
  const Images more = ImagesOf(12, *config.image, 11);
  EXPECT_TRUE(absl::IsInvalidArgument(
      bench.trainer->Evaluate(bench.adapter, more, 0, bench.stop).status()));
  EXPECT_TRUE(
      bench.trainer->Evaluate(bench.adapter, others, 0, bench.stop).ok());
}

TEST(VisionTrainerTest, OtherPrecisionsAreRefused) {
  const ModelConfig config = SmallConfig("mcmahan_2nn");
  Bench bench(config, InitialWeights(*NetworkOf(config), 1));
  const auto made =
      VisionTrainer::Make(bench.model, {.precision = Precision::kBf16});
  EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
}

}  // namespace
}  // namespace edgetune
