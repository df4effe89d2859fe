// The networks of mobile devices against torchvision (make_mobile_vectors.py),
// and what their layers do in training.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/training_torch/vision_bench.h"

namespace edgetune {
namespace {

using nlohmann::json;
using Norm = VisionVariant::Norm;

// The maker's scattered().
uint32_t Scattered(size_t place) {
  auto h = static_cast<uint32_t>(place);
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}

Images MobileImagesOf(int64_t count, const ImageShape& shape, int64_t classes) {
  return Images(count, shape, classes, [](size_t i) {
    return static_cast<uint8_t>(Scattered(i / 2) >> 24);
  });
}

double UnitAt(size_t place) { return Scattered(place) / 0x1p31 - 1; }

// The maker's weight().
ParameterVector FormulaWeights(const ParameterLayout& layout) {
  ParameterVector values;
  for (const auto& tensor : layout.tensors()) {
    const auto fan_in = static_cast<double>(tensor.count) /
                        static_cast<double>(tensor.shape[0]);
    for (size_t i = 0; i < tensor.count; ++i) {
      const double unit = UnitAt(values.size());
      const double value = tensor.name.ends_with("bias") ? unit / 4
                           : tensor.shape.size() == 1
                               ? 1 + unit / 2
                               : unit * std::sqrt(6 / fan_in);
      values.push_back(static_cast<float>(value));
    }
  }
  return values;
}

// The maker's statistic().
ParameterVector FormulaStatistics(const ParameterLayout& layout,
                                  double variance) {
  ParameterVector values;
  for (const auto& tensor : layout.tensors()) {
    const bool mean = tensor.name.ends_with("mean");
    for (size_t i = 0; i < tensor.count; ++i) {
      const double unit = UnitAt(values.size());
      values.push_back(
          static_cast<float>(mean ? unit / 4 : variance * (1 + unit / 2)));
    }
  }
  return values;
}

ModelConfig ConfigOfCase(const json& given) {
  const auto shape = given["shape"].get<std::vector<int64_t>>();
  return ConfigOf(
      given["architecture"], {shape[0], shape[1], shape[2]},
      {.width_multiplier = given["width_multiplier"],
       .norm = given["norm"] == "group" ? Norm::kGroup : Norm::kBatch});
}

Bench BenchOf(const ModelConfig& config, double variance) {
  const auto network = NetworkOf(config);
  return Bench(config, FormulaWeights(*LayoutOf(*network)),
               FormulaStatistics(*StatisticsOf(*network), variance));
}

double NormOf(std::span<const float> values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

void ExpectLogits(const json& given, const std::vector<float>& logits) {
  const auto wanted = given["logits"].get<std::vector<double>>();
  ASSERT_EQ(logits.size(), wanted.size());
  double largest = 0;
  for (const double value : wanted) {
    largest = std::max(largest, std::abs(value));
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(logits[i], wanted[i], 1e-4 * largest) << "logit " << i;
  }
}

void ExpectGradient(const json& given, const ParameterLayout& layout,
                    const ParameterVector& gradient, double tolerance) {
  const auto norms = given["norms"].get<std::vector<double>>();
  const auto entries = given["entries"].get<std::vector<double>>();
  ASSERT_EQ(layout.tensors().size(), norms.size());
  for (size_t i = 0; i < norms.size(); ++i) {
    const ParameterLayout::Tensor& tensor = layout.tensors()[i];
    const auto part = std::span(gradient).subspan(tensor.offset, tensor.count);
    EXPECT_NEAR(NormOf(part), norms[i], tolerance * norms[i]) << tensor.name;
    EXPECT_NEAR(part[Scattered(i) % tensor.count], entries[i],
                tolerance * norms[i])
        << tensor.name;
  }
}

// float32 against float64, 50 layers deep.
TEST(MobileNetworksTest, LogitsAndGradientsAreThoseOfTorchvision) {
  std::ifstream file(std::string(EDGETUNE_SOURCE_DIR) +
                     "/tests/training_torch/vectors/mobile.json");
  const json cases = json::parse(file)["cases"];
  ASSERT_EQ(cases.size(), 8 * 4);
  size_t gradients = 0;
  for (const json& given : cases) {
    SCOPED_TRACE(given["architecture"].get<std::string>() + " " +
                 given["norm"].get<std::string>() + " " +
                 given["width_multiplier"].dump());
    const ModelConfig config = ConfigOfCase(given);
    Bench bench = BenchOf(config, given["variance"]);
    ASSERT_EQ(bench.adapter.values.size(), given["parameters"].get<size_t>());
    const Images images = MobileImagesOf(3, *config.image, config.vocab);
    const auto logits =
        bench.trainer->ComputeLogits(bench.adapter, images.All());
    ASSERT_TRUE(logits.ok()) << logits.status();
    ExpectLogits(given, *logits);
    if (!given.contains("norms")) continue;
    ++gradients;
    // In parts: with statistics of the batch these would change everything.
    const auto gradient =
        bench.trainer->ComputeGradient(bench.adapter, images, 2);
    ASSERT_TRUE(gradient.ok()) << gradient.status();
    const auto loss = given["loss"].get<double>();
    EXPECT_NEAR(gradient->nll_sum, loss, 1e-4 * std::abs(loss));
    // In float32 some of its ReLU6 fall on the other side of a kink: PyTorch's
    // own gradients then differ by 0.5 % from those in float64.
    const bool kinks = config.architecture == "mobilenet_v2";
    ExpectGradient(given, bench.adapter.layout, gradient->gradient,
                   kinks ? 1e-2 : 1e-3);
  }
  EXPECT_EQ(gradients, 16);
}

// The smallest of them whose layers are all smooth.
ModelConfig SmoothConfig() {
  return ConfigOf("efficientnet_b0", {1, 20, 20},
                  {.width_multiplier = 0.1, .norm = Norm::kGroup});
}

// By central differences, in the coordinate of a tensor where the slope is
// largest and rounding of the loss matters least.
void ExpectSlopes(const ModelConfig& config) {
  Bench bench = BenchOf(config, 0.8);
  const Images images = MobileImagesOf(2, *config.image, 10);
  const auto gradient =
      bench.trainer->ComputeGradient(bench.adapter, images, 2);
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  const auto loss_at = [&](size_t i, float moved) {
    bench.adapter.values[i] = moved;
    const auto at = bench.trainer->ComputeGradient(bench.adapter, images, 2);
    EXPECT_TRUE(at.ok()) << at.status();
    bench.adapter.values[i] = 0;
    return at->nll_sum / 2;
  };
  const auto& tensors = bench.adapter.layout.tensors();
  constexpr float kStep = 1.0f / 1024;
  int steep = 0;
  for (size_t t = 0; t < tensors.size(); t += 11) {
    const auto part = std::span(gradient->gradient)
                          .subspan(tensors[t].offset, tensors[t].count);
    const auto most =
        std::ranges::max_element(part, {}, [](float g) { return std::abs(g); });
    if (std::abs(*most) < 0.05) continue;
    ++steep;
    const size_t i =
        tensors[t].offset + static_cast<size_t>(most - part.begin());
    const double slope = (loss_at(i, kStep) - loss_at(i, -kStep)) / kStep / 2;
    EXPECT_NEAR(slope, *most, 0.03 * std::abs(*most)) << tensors[t].name;
  }
  EXPECT_GE(steep, 8);
}

TEST(MobileNetworksTest, TheGradientIsTheSlopeOfTheLoss) {
  for (const Norm norm : {Norm::kBatch, Norm::kGroup}) {
    ExpectSlopes(ConfigOf("efficientnet_b0", {1, 64, 64},
                          {.width_multiplier = 0.25, .norm = norm}));
  }
}

TEST(MobileNetworksTest, TrainingAndEvaluationNormaliseAlike) {
  const ModelConfig config =
      ConfigOf("mobilenet_v3_small", {1, 20, 20}, {.width_multiplier = 0.25});
  Bench bench = BenchOf(config, 1);
  const Images images = MobileImagesOf(4, *config.image, 10);
  const auto before =
      bench.trainer->Evaluate(bench.adapter, images, 0, bench.stop);
  const auto gradient =
      bench.trainer->ComputeGradient(bench.adapter, images, 4);
  ASSERT_TRUE(before.ok() && gradient.ok());
  EXPECT_NEAR(before->nll_sum, gradient->nll_sum, 1e-5 * before->nll_sum);
  const auto statistics = ReadVisionStatistics(*bench.model);
  const auto result = bench.Train(images, Sgd(0.01, 3));
  ASSERT_TRUE(result.ok()) << result.status();
  // What a device sends has a coordinate for each parameter and for no more,
  // and its steps leave the model as it is.
  EXPECT_EQ(result->delta.size(), bench.adapter.layout.size());
  EXPECT_EQ(*ReadVisionStatistics(*bench.model), *statistics);
  const auto after =
      bench.trainer->Evaluate(bench.adapter, images, 0, bench.stop);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->nll_sum, before->nll_sum);
}

// A network that sees (v - mean) / deviation is one that sees v with other
// weights of its first layer: w / deviation, and a bias less the sum of
// w mean / deviation.
TEST(MobileNetworksTest, PixelsAreNormalisedBeforeTheFirstLayer) {
  ModelConfig config = ConfigOf("mcmahan_2nn", {2, 3, 3});
  const ParameterVector weights = FormulaWeights(*LayoutOf(*NetworkOf(config)));
  config.pixels = {{0.5, 0.25}, {0.25, 0.5}};
  Bench given(config, weights);
  ParameterVector folded = weights;
  constexpr size_t kIn = 18, kOut = 200;
  for (size_t row = 0; row < kOut; ++row) {
    for (size_t i = 0; i < kIn; ++i) {
      float& w = folded[row * kIn + i];
      w /= static_cast<float>(config.pixels.deviation[i / 9]);
      folded[kOut * kIn + row] -=
          w * static_cast<float>(config.pixels.mean[i / 9]);
    }
  }
  config.pixels = {};
  Bench other(config, folded);
  const Images images = MobileImagesOf(3, *config.image, 10);
  const auto a = given.trainer->ComputeLogits(given.adapter, images.All());
  const auto b = other.trainer->ComputeLogits(other.adapter, images.All());
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  ASSERT_EQ(a->size(), 30);
  for (size_t i = 0; i < a->size(); ++i) EXPECT_NEAR((*a)[i], (*b)[i], 1e-4);
}

// The delta of one step on one image: its order cannot matter.
ParameterVector OneStep(Bench& bench, const ModelConfig& config,
                        uint64_t seed) {
  TrainConfig train = Sgd(0.5, 1);
  train.batch = train.micro_batch = 1;
  train.seed = seed;
  const auto result = bench.Train(MobileImagesOf(1, *config.image, 10), train);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->delta : ParameterVector();
}

TEST(MobileNetworksTest, ASeedDecidesWhatIsDropped) {
  Bench bench = BenchOf(SmoothConfig(), 1);
  const auto step = [&](uint64_t seed) {
    return OneStep(bench, SmoothConfig(), seed);
  };
  EXPECT_EQ(step(1), step(1));
  EXPECT_NE(step(1), step(2));
  // ShuffleNet drops nothing, so that a seed decides nothing.
  const ModelConfig other =
      ConfigOf("shufflenet_v2_x0_5", {1, 20, 20},
               {.width_multiplier = 0.5, .norm = Norm::kGroup});
  Bench shuffle = BenchOf(other, 1);
  EXPECT_EQ(OneStep(shuffle, other, 1), OneStep(shuffle, other, 2));
}

// "features.6.3" of "features.6.3.block.0.0.weight".
std::string BlockOf(const std::string& name) {
  const size_t end = name.find(".block.");
  return end == std::string::npos ? "" : name.substr(0, end);
}

// A block that is dropped gets no gradient at all. Of the k-th of B0's 16
// blocks the rate is 0.2 k / 16, and those with a shortcut are k = 2, 4, 6, 7,
// 9, 10, 12, 13 and 14: 0.9625 blocks a step. Over 60 steps their number has a
// deviation of 7.1.
TEST(MobileNetworksTest, StochasticDepthDropsWholeBlocksAtTheirRate) {
  Bench bench = BenchOf(SmoothConfig(), 1);
  int dropped = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const ParameterVector delta = OneStep(bench, SmoothConfig(), seed);
    ASSERT_EQ(delta.size(), bench.adapter.values.size());
    std::map<std::string, std::pair<int, int>> moved;  // tensors, of them moved
    for (const auto& tensor : bench.adapter.layout.tensors()) {
      auto& [all, some] = moved[BlockOf(tensor.name)];
      ++all;
      some += NormOf(std::span(delta).subspan(tensor.offset, tensor.count)) > 0;
    }
    for (const auto& [block, counts] : moved) {
      if (counts.second > 0) continue;
      ++dropped;
      EXPECT_FALSE(block.empty());
      EXPECT_FALSE(block.ends_with(".0")) << block << " has no shortcut";
    }
  }
  EXPECT_NEAR(dropped, 60 * 0.9625, 4 * 7.1);
}

}  // namespace
}  // namespace edgetune
