#include "models/io/vision/vision_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/hf/safetensors.h"
#include "models/io/vision/vision_config.h"
#include "models/io/vision/vision_network.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig ConfigOf(const std::string& architecture, const ImageShape& image) {
  ModelConfig config;
  config.architecture = architecture;
  config.image = image;
  config.vocab = 10;
  return config;
}

size_t ParametersOf(const ModelConfig& config) {
  return LayoutOf(*NetworkOf(config))->size();
}

// As the papers count them.
TEST(VisionNetworkTest, HasAsManyParametersAsItsPaperSays) {
  EXPECT_EQ(ParametersOf(ConfigOf("mcmahan_2nn", {1, 28, 28})), 199'210);
  EXPECT_EQ(ParametersOf(ConfigOf("mcmahan_cnn", {1, 28, 28})), 1'663'370);
  EXPECT_EQ(ParametersOf(ConfigOf("pfl_cnn", {3, 32, 32})), 1'626'442);
}

TEST(VisionNetworkTest, WhatCannotBeIsRefused) {
  const auto refused = [](const ModelConfig& config) {
    return NetworkOf(config).status().ToString();
  };
  EXPECT_THAT(refused(ConfigOf("resnet", {1, 28, 28})),
              HasSubstr("known: mcmahan_2nn"));
  EXPECT_THAT(refused(ConfigOf("mcmahan_cnn", {1, 3, 28})),
              HasSubstr("3 by 28 is too small"));
  EXPECT_THAT(refused(ConfigOf("pfl_cnn", {3, 5, 5})), HasSubstr("too small"));
  EXPECT_THAT(refused(ConfigOf("mcmahan_2nn", {0, 28, 28})),
              HasSubstr("channels is 0"));
  EXPECT_THAT(refused(ConfigOf("mcmahan_2nn", {1, 28, 1 << 20})),
              HasSubstr("width"));
  ModelConfig none = ConfigOf("mcmahan_2nn", {1, 28, 28});
  none.vocab = 0;
  EXPECT_THAT(refused(none), HasSubstr("classes is 0"));
}

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};

Moments MomentsOf(const ParameterLayout& layout, const ParameterVector& values,
                  const std::string& name) {
  Moments out;
  for (const auto& tensor : layout.tensors()) {
    if (tensor.name != name) continue;
    for (size_t i = 0; i < tensor.count; ++i) {
      const double v = values[tensor.offset + i];
      out.mean += v / static_cast<double>(tensor.count);
      out.deviation += v * v / static_cast<double>(tensor.count);
      out.largest = std::max(out.largest, std::abs(v));
    }
  }
  out.deviation = std::sqrt(out.deviation);
  return out;
}

// Uniform in +-b: deviation b / sqrt 3. With n values the mean is within 5
// deviations / sqrt n, and the deviation within 2 % for n of 51,200 and more.
void ExpectUniform(const Moments& m, double bound, double n) {
  EXPECT_LE(m.largest, bound * (1 + 1e-6));
  EXPECT_GT(m.largest, bound * 0.999);
  EXPECT_NEAR(m.mean, 0, 5 * bound / std::sqrt(3 * n));
  EXPECT_NEAR(m.deviation, bound / std::sqrt(3.0), 0.02 * bound);
}

TEST(VisionNetworkTest, WeightsBeginAsPyTorchBeginsThem) {
  const auto network = NetworkOf(ConfigOf("mcmahan_cnn", {1, 28, 28}));
  const auto layout = LayoutOf(*network);
  const ParameterVector values = InitialWeights(*network, 1);
  ASSERT_EQ(values.size(), layout->size());
  ExpectUniform(MomentsOf(*layout, values, "conv2.weight"),
                1 / std::sqrt(32.0 * 25), 51'200);
  ExpectUniform(MomentsOf(*layout, values, "fc1.weight"), 1 / std::sqrt(3136.0),
                1'605'632);
  EXPECT_LE(MomentsOf(*layout, values, "conv1.bias").largest, 1 / 5.0);
  EXPECT_GT(MomentsOf(*layout, values, "conv1.bias").largest, 0.15);
}

// Glorot's law counts the kernel on both sides.
TEST(VisionNetworkTest, ThePflNetworkBeginsAsGlorotSays) {
  const auto network = NetworkOf(ConfigOf("pfl_cnn", {3, 32, 32}));
  const auto layout = LayoutOf(*network);
  const ParameterVector values = InitialWeights(*network, 1);
  ExpectUniform(MomentsOf(*layout, values, "8.weight"),
                std::sqrt(6.0 / (12544 + 128)), 1'605'632);
  EXPECT_NEAR(MomentsOf(*layout, values, "3.weight").largest,
              std::sqrt(6.0 / (9 * (32 + 64))), 1e-4);
}

TEST(VisionNetworkTest, ASeedDecidesTheWeights) {
  const auto network = NetworkOf(ConfigOf("mcmahan_2nn", {1, 28, 28}));
  EXPECT_EQ(InitialWeights(*network, 5), InitialWeights(*network, 5));
  EXPECT_NE(InitialWeights(*network, 5), InitialWeights(*network, 6));
}

class VisionModelTest : public ::testing::Test {
 protected:
  VisionModelTest() {
    const absl::Status written =
        WriteVisionModel(path_, config_, values_, {{"seed", "3"}});
    EXPECT_TRUE(written.ok()) << written;
  }
  // Puts another text in the place of the file.
  void Replace(const std::string& name, const std::string& text) {
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
  }
  std::string Refused() {
    const auto model = ModelFile::Open(path_);
    EXPECT_EQ(KindOf(model.status()), ErrorKind::kModel);
    return model.status().ToString();
  }

  const testing::ScratchDirectory folder_;
  const std::string path_ = folder_.File("model");
  const ModelConfig config_ = ConfigOf("mcmahan_2nn", {1, 2, 3});
  const ParameterVector values_ = InitialWeights(*NetworkOf(config_), 3);
};

TEST_F(VisionModelTest, IsReadAsItWasWritten) {
  ASSERT_TRUE(IsVisionModel(path_));
  const auto model = ModelFile::Open(path_);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& config = (*model)->config();
  EXPECT_EQ(config.architecture, "mcmahan_2nn");
  EXPECT_EQ(config.name, "model");
  EXPECT_EQ(config.image, (ImageShape{1, 2, 3}));
  EXPECT_EQ(config.vocab, 10);
  EXPECT_EQ((*model)->tensors()[1].name, "fc1.bias");
  const auto weights = ReadVisionWeights(**model);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(*weights, values_);
}

TEST_F(VisionModelTest, AreTwoFilesOfABase) {
  const auto files = ModelFile::FilesOf(path_);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(*files, ElementsAre("config.json", "model.safetensors"));
}

TEST_F(VisionModelTest, RowsAreReadWithinTheirTensor) {
  const auto model = ModelFile::Open(path_);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<float> rows(12);
  ASSERT_TRUE((*model)->ReadRows("fc1.weight", 1, 3, rows).ok());
  EXPECT_EQ(rows,
            std::vector<float>(values_.begin() + 6, values_.begin() + 18));
  EXPECT_FALSE((*model)->ReadRows("fc1.weight", 199, 201, rows).ok());
  EXPECT_FALSE((*model)->ReadRows("fc9.weight", 0, 2, rows).ok());
}

TEST_F(VisionModelTest, ItsAdapterIsAllItsParameters) {
  const auto layout = AdapterLayoutOf(config_, {});
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->size(), values_.size());
  EXPECT_EQ(InitialAdapter(*layout, 1), ParameterVector(values_.size(), 0));
  const auto lora =
      AdapterLayoutOf(config_, {.rank = 4, .alpha = 8, .targets = {"fc1"}});
  EXPECT_THAT(lora.status().ToString(), HasSubstr("model of images"));
}

TEST_F(VisionModelTest, OrThoseOfSomeParts) {
  const auto all = AdapterLayoutOf(config_, {}).value();
  // In the network's order, each once, whatever the names' order.
  const auto layout =
      AdapterLayoutOf(config_, {.targets = {"fc3", "fc1.bias", "fc3.weight"}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::vector<std::string> names;
  for (const auto& tensor : layout->tensors()) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("fc1.bias", "fc3.weight", "fc3.bias"));
  EXPECT_EQ(layout->size(), 200 + 200 * 10 + 10);
  EXPECT_EQ(*AdapterLayoutOf(config_, {.targets = {"fc1", "fc2", "fc3"}}), all);
  // The beginning of a name is no name.
  const auto none = AdapterLayoutOf(config_, {.targets = {"fc1", "fc"}});
  EXPECT_THAT(none.status().ToString(),
              HasSubstr("mcmahan_2nn: no parameter is of a part \"fc\"; there "
                        "are fc1, fc2, fc3"));
}

TEST_F(VisionModelTest, AChangeOfPartsIsAddedWhereTheyAre) {
  Adapter change{{.targets = {"fc2.bias"}}, {}, {}};
  change.layout = AdapterLayoutOf(config_, change.spec).value();
  change.values.assign(200, 0.5f);
  ParameterVector weights = values_, wanted = values_;
  ASSERT_TRUE(AddChange(config_, change, weights).ok());
  const auto all = AdapterLayoutOf(config_, {}).value();
  ASSERT_EQ(all.tensors()[3].name, "fc2.bias");
  for (size_t i = 0; i < 200; ++i) wanted[all.tensors()[3].offset + i] += 0.5f;
  EXPECT_EQ(weights, wanted);
  change.values.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(AddChange(config_, change, weights)));
  EXPECT_EQ(weights, wanted);
}

TEST_F(VisionModelTest, AWrongConfigIsRefused) {
  const std::string good =
      R"({"architecture":"mcmahan_2nn","channels":1,"height":2,)"
      R"("width":3,"classes":10})";
  ASSERT_TRUE(ParseVisionConfig(good).ok()) << ParseVisionConfig(good).status();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return ParseVisionConfig(text).status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(with("mcmahan_2nn", "vgg")));
  EXPECT_TRUE(absl::IsInvalidArgument(with("\"mcmahan_2nn\"", "7")));
  EXPECT_TRUE(absl::IsInvalidArgument(with(":1,", ":1.5,")));
  EXPECT_TRUE(absl::IsInvalidArgument(with(":1,", ":-1,")));
  EXPECT_TRUE(absl::IsInvalidArgument(with("width", "depth")));
  EXPECT_TRUE(absl::IsInvalidArgument(with(",\"classes\":10", "")));
  EXPECT_TRUE(absl::IsDataLoss(with("}", "")));
  EXPECT_TRUE(absl::IsDataLoss(with("height\":2", "channels\":2")));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseVisionConfig("[]").status()));
}

TEST_F(VisionModelTest, WeightsThatDoNotFitAreRefused) {
  Replace("config.json",
          R"({"architecture":"mcmahan_2nn","channels":1,"height":2,)"
          R"("width":4,"classes":10})");
  EXPECT_THAT(Refused(), HasSubstr("fc1.weight has shape [200,6], wanted "
                                   "[200,8]"));
  Replace("config.json",
          R"({"architecture":"pfl_cnn","channels":1,"height":12,)"
          R"("width":12,"classes":10})");
  EXPECT_THAT(Refused(), HasSubstr("tensor 1.weight is missing"));
  Replace("model.safetensors", "no tensors");
  EXPECT_FALSE(ModelFile::Open(path_).ok());
}

TEST_F(VisionModelTest, ATensorTooManyIsRefused) {
  const auto file = SafetensorsFile::Open(path_ + "/model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<SafeTensor> tensors = (*file)->tensors();
  tensors.push_back({"fc4.bias", "F32", {1}, tensors[0].data.first(4)});
  const auto bytes = SerialiseSafetensors(tensors);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  Replace("model.safetensors", *bytes);
  EXPECT_THAT(Refused(), HasSubstr("7 tensors, mcmahan_2nn has 6"));
}

TEST_F(VisionModelTest, ValuesThatAreNotFiniteAreRefused) {
  ParameterVector values = values_;
  values[1300] = std::nanf("");
  const std::string other = folder_.File("other");
  ASSERT_TRUE(WriteVisionModel(other, config_, values, {}).ok());
  const auto model = ModelFile::Open(other);
  EXPECT_TRUE(absl::IsDataLoss(model.status())) << model.status();
}

TEST_F(VisionModelTest, NothingIsOverwritten) {
  EXPECT_TRUE(
      absl::IsAlreadyExists(WriteVisionModel(path_, config_, values_, {})));
}

}  // namespace
}  // namespace edgetune
