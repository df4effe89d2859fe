// The networks of mobile devices have torchvision's states and beginnings.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/vision/vision_network.h"
#include "tests/models_io/vision/torchvision_states.h"

namespace edgetune {
namespace {

using Norm = VisionVariant::Norm;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<Named> NamedOf(const ParameterLayout& layout) {
  std::vector<Named> out;
  for (const auto& tensor : layout.tensors()) {
    out.push_back({tensor.name, tensor.shape});
  }
  return out;
}

std::vector<std::string> MobileArchitectures() {
  std::vector<std::string> out;
  for (const std::string& name : VisionArchitectures()) {
    if (HasVariants(name)) out.push_back(name);
  }
  return out;
}

TEST(MobileNetworkTest, StatesAreThoseOfTorchvision) {
  const auto states = States();
  ASSERT_EQ(states.size(), 8);
  ASSERT_EQ(MobileArchitectures().size(), 8);
  for (const auto& [name, state] : states) {
    const auto network = NetworkOf(ConfigOf(name));
    ASSERT_TRUE(network.ok()) << network.status();
    const auto layout = LayoutOf(*network);
    const auto statistics = StatisticsOf(*network);
    ASSERT_TRUE(layout.ok() && statistics.ok());
    EXPECT_EQ(layout->size(), state.parameters) << name;
    EXPECT_EQ(NamedOf(*layout), state.trained) << name;
    EXPECT_EQ(NamedOf(*statistics), state.statistics) << name;
    EXPECT_EQ(InitialWeights(*network, 1).size(), layout->size());
    EXPECT_EQ(InitialStatistics(*network).size(), statistics->size());
  }
}

TEST(MobileNetworkTest, GroupNormHasNoStatisticsAndTheSameParameters) {
  for (const std::string& name : MobileArchitectures()) {
    const auto batch = NetworkOf(ConfigOf(name));
    const auto group = NetworkOf(ConfigOf(name, {.norm = Norm::kGroup}));
    ASSERT_TRUE(batch.ok() && group.ok()) << group.status();
    EXPECT_EQ(LayoutOf(*group)->tensors(), LayoutOf(*batch)->tensors());
    EXPECT_THAT(StatisticsOf(*group)->tensors(), IsEmpty());
    ForEachLayer(group->layers, [](const VisionLayer& layer) {
      EXPECT_NE(layer.kind, VisionLayer::Kind::kBatchNorm);
      EXPECT_EQ(layer.normalises() ? layer.out % layer.groups : 0, 0);
    });
  }
}

TEST(MobileNetworkTest, AnAdapterHasNothingOfTheStatistics) {
  for (const std::string& name : MobileArchitectures()) {
    const auto layout = AdapterLayoutOf(ConfigOf(name), {});
    ASSERT_TRUE(layout.ok()) << layout.status();
    EXPECT_EQ(layout->size(), States().at(name).parameters);
    for (const auto& tensor : layout->tensors()) {
      EXPECT_THAT(tensor.name, Not(HasSubstr("running_")));
    }
  }
}

TEST(MobileNetworkTest, EveryImageIsLargeEnoughUnlessAGroupIsOneValue) {
  for (const std::string& name : MobileArchitectures()) {
    ModelConfig config = ConfigOf(name);
    config.image = ImageShape{1, 1, 1};
    EXPECT_TRUE(NetworkOf(config).ok()) << name;
    config.variant = {.width_multiplier = 0.01, .norm = Norm::kGroup};
    EXPECT_THAT(NetworkOf(config).status().ToString(),
                HasSubstr("1 by 1 is too small for " + name));
  }
}

TEST(MobileNetworkTest, AVariantThatCannotBeIsRefused) {
  for (const double width : {0.0, -1.0, 4.5, std::nan("")}) {
    EXPECT_THAT(NetworkOf(ConfigOf("mobilenet_v2", {.width_multiplier = width}))
                    .status()
                    .ToString(),
                HasSubstr("width_multiplier is"));
  }
  for (const VisionVariant& variant : {VisionVariant{.width_multiplier = 0.5},
                                       VisionVariant{.norm = Norm::kGroup}}) {
    EXPECT_THAT(NetworkOf(ConfigOf("pfl_cnn", variant)).status().ToString(),
                HasSubstr("pfl_cnn has neither"));
  }
  EXPECT_FALSE(HasVariants("pfl_cnn"));
  EXPECT_FALSE(HasVariants("vgg"));
}

struct Law {
  double deviation;
  double largest;  // 0: without a bound
};

// Mean and deviation within 5 deviations of theirs; of a normal law the largest
// of 1,000 to 2 million values is above 2.5 and below 7 deviations.
void ExpectLaw(const Law& law, std::span<const float> values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0, largest = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
    largest = std::max(largest, std::abs(v));
  }
  EXPECT_NEAR(sum / n, 0, 5 * law.deviation / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), law.deviation,
              5 * law.deviation / std::sqrt(2 * n));
  if (law.largest > 0) {
    EXPECT_LE(largest, law.largest * (1 + 1e-6));
    EXPECT_GT(largest, law.largest * 0.98);
  } else {
    EXPECT_GT(largest, 2.5 * law.deviation);
    EXPECT_LT(largest, 7 * law.deviation);
  }
}

// Compares the tensors of 1,000 values and more; those of one dimension are
// `constant` where they are not a linear layer's bias.
template <typename LawOf>
void ExpectStart(const std::string& name, const LawOf& law_of) {
  const auto network = NetworkOf(ConfigOf(name));
  const auto layout = LayoutOf(*network);
  const ParameterVector values = InitialWeights(*network, 7);
  int compared = 0;
  for (const auto& tensor : layout->tensors()) {
    SCOPED_TRACE(name + " " + tensor.name);
    const auto part = std::span(values).subspan(tensor.offset, tensor.count);
    if (tensor.shape.size() > 1 && tensor.count >= 1000) {
      ExpectLaw(law_of(tensor.shape), part);
      ++compared;
    }
    if (tensor.shape.size() == 1 && tensor.name != "fc.bias") {
      const float constant = tensor.name.ends_with("weight") ? 1 : 0;
      EXPECT_THAT(std::vector<float>(part.begin(), part.end()), Each(constant));
    }
  }
  EXPECT_GT(compared, 30);
}

double FanOut(const std::vector<int64_t>& shape) {
  return static_cast<double>(shape[0] * shape[2] * shape[3]);
}

Law Uniform(double bound) { return {bound / std::sqrt(3.0), bound}; }

TEST(MobileNetworkTest, WeightsBeginAsTorchvisionBeginsThem) {
  const auto mobile = [](const std::vector<int64_t>& shape) -> Law {
    return {shape.size() == 2 ? 0.01 : std::sqrt(2 / FanOut(shape)), 0};
  };
  ExpectStart("mobilenet_v2", mobile);
  ExpectStart("mobilenet_v3_small", mobile);
  ExpectStart("efficientnet_b0", [&](const std::vector<int64_t>& shape) {
    const auto out = static_cast<double>(shape[0]);
    return shape.size() == 2 ? Uniform(1 / std::sqrt(out)) : mobile(shape);
  });
  ExpectStart("shufflenet_v2_x1_0", [](const std::vector<int64_t>& shape) {
    double fan_in = 1;
    for (size_t i = 1; i < shape.size(); ++i) {
      fan_in *= static_cast<double>(shape[i]);
    }
    return Uniform(1 / std::sqrt(fan_in));
  });
}

}  // namespace
}  // namespace edgetune
