// Models of the networks of mobile devices on disk: torchvision's weights are
// read, and what is written has its names.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <list>
#include <set>

#include "base/status.h"
#include "models/io/hf/safetensors.h"
#include "models/io/vision/vision_config.h"
#include "models/io/vision/vision_model.h"
#include "models/io/vision/vision_network.h"
#include "tests/models_io/vision/torchvision_states.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using Norm = VisionVariant::Norm;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kTracked = 123'456;  // any number of batches

// A state dictionary of torchvision, saved as safetensors: element i of the
// parameters is i % 251, of the statistics i % 127.
class TorchvisionStateTest : public ::testing::Test {
 protected:
  TorchvisionStateTest() {
    Add(state_.trained, 251);
    Add(state_.statistics, 127);
    for (const std::string& name : state_.counters) {
      tensors_.push_back(
          {name,
           "I64",
           {},
           {reinterpret_cast<const uint8_t*>(&kTracked), sizeof(kTracked)}});
    }
    // Python's safetensors writes the tensors by size of element, then by name.
    std::ranges::sort(tensors_, [](const SafeTensor& a, const SafeTensor& b) {
      return std::pair(b.dtype, a.name) < std::pair(a.dtype, b.name);
    });
  }

  void Add(const std::vector<Named>& named, size_t period) {
    size_t at = 0;
    for (const auto& [name, shape] : named) {
      size_t count = 1;
      for (const int64_t side : shape) count *= static_cast<size_t>(side);
      auto& values = values_.emplace_back(count);
      for (float& value : values) {
        value = static_cast<float>(at++ % period);
      }
      tensors_.push_back({name,
                          "F32",
                          shape,
                          {reinterpret_cast<const uint8_t*>(values.data()),
                           values.size() * sizeof(float)}});
    }
  }
  SafeTensor& Find(const std::string& name) {
    return *std::ranges::find(tensors_, name, &SafeTensor::name);
  }
  void Erase(const std::string& suffix) {
    std::erase_if(tensors_, [&](const SafeTensor& tensor) {
      return tensor.name.ends_with(suffix);
    });
  }
  absl::StatusOr<std::unique_ptr<ModelFile>> Open(
      const std::string& norm = "batch") {
    const std::string path = folder_.File("model");
    std::filesystem::create_directories(path);
    std::ofstream(path + "/config.json")
        << R"({"architecture":"shufflenet_v2_x0_5","channels":3,"height":32,)"
        << R"("width":32,"classes":1000,"norm":")" << norm << "\"}";
    std::ofstream(path + "/model.safetensors", std::ios::binary)
        << *SerialiseSafetensors(tensors_);
    return ModelFile::Open(path);
  }
  std::string Refused(const std::string& norm = "batch") {
    return Open(norm).status().ToString();
  }

  const State state_ = States().at("shufflenet_v2_x0_5");
  const testing::ScratchDirectory folder_;
  std::list<std::vector<float>> values_;
  std::vector<SafeTensor> tensors_;
};

void ExpectRunsTo(const absl::StatusOr<ParameterVector>& values, size_t count,
                  size_t period) {
  ASSERT_TRUE(values.ok()) << values.status();
  ASSERT_EQ(values->size(), count);
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ((*values)[i], static_cast<float>(i % period)) << i;
  }
}

TEST_F(TorchvisionStateTest, IsReadByItsNames) {
  for (const bool counted : {true, false}) {
    if (!counted) Erase(".num_batches_tracked");
    const auto model = Open();
    ASSERT_TRUE(model.ok()) << model.status();
    ExpectRunsTo(ReadVisionWeights(**model), state_.parameters, 251);
    size_t statistics = 0;
    for (const auto& [name, shape] : state_.statistics) {
      statistics += static_cast<size_t>(shape[0]);
    }
    ExpectRunsTo(ReadVisionStatistics(**model), statistics, 127);
  }
}

TEST_F(TorchvisionStateTest, HasToBeWholeAndOfItsNorm) {
  EXPECT_THAT(Refused("group"), HasSubstr("tensors, shufflenet_v2_x0_5 has"));
  Erase("conv5.1.running_var");
  EXPECT_THAT(Refused(), HasSubstr("conv5.1.running_var is missing"));
  EXPECT_FALSE(Open("group").ok());
  Erase(".running_var");
  Erase(".running_mean");
  EXPECT_THAT(Refused("group"), HasSubstr("tensors, shufflenet_v2_x0_5 has"));
  Erase(".num_batches_tracked");
  EXPECT_TRUE(Open("group").ok()) << Refused("group");
}

TEST_F(TorchvisionStateTest, AWrongCounterIsRefused) {
  SafeTensor& counter = Find("conv1.1.num_batches_tracked");
  counter.shape = {1};
  EXPECT_THAT(Refused(), HasSubstr("conv1.1.num_batches_tracked is I64 of"));
  counter.shape = {2};
  counter.dtype = "F32";
  EXPECT_THAT(Refused(), HasSubstr("wanted one I64"));
  counter.name = "conv2.1.num_batches_tracked";
  EXPECT_THAT(Refused(), HasSubstr("tensors, shufflenet_v2_x0_5 has"));
}

TEST_F(TorchvisionStateTest, AVarianceBelowZeroIsRefused) {
  const std::vector<float> wrong(24, -1.0f);
  Find("conv1.1.running_mean").data = Find("conv1.1.running_var").data = {
      reinterpret_cast<const uint8_t*>(wrong.data()), 24 * sizeof(float)};
  const auto model = Open();
  EXPECT_TRUE(absl::IsDataLoss(model.status())) << model.status();
  EXPECT_THAT(Refused(), HasSubstr("conv1.1.running_var holds a variance"));
}

std::set<std::string> NamesIn(const std::string& directory) {
  const auto file = SafetensorsFile::Open(directory + "/model.safetensors");
  EXPECT_TRUE(file.ok()) << file.status();
  std::set<std::string> names;
  for (const SafeTensor& tensor : (*file)->tensors()) names.insert(tensor.name);
  return names;
}

TEST(MobileModelTest, IsWrittenAsTorchvisionReadsItAndReadAgain) {
  const testing::ScratchDirectory folder;
  const std::string path = folder.File("model");
  const ModelConfig config = ConfigOf("mobilenet_v3_small");
  const auto network = NetworkOf(config);
  const ParameterVector weights = InitialWeights(*network, 1);
  ParameterVector statistics = InitialStatistics(*network);
  for (size_t i = 0; i < statistics.size(); ++i) {
    statistics[i] += static_cast<float>(i % 7);
  }
  ASSERT_TRUE(WriteVisionModel(path, config, weights, {}, statistics).ok());
  const auto model = ModelFile::Open(path);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(*ReadVisionWeights(**model), weights);
  EXPECT_EQ(*ReadVisionStatistics(**model), statistics);
  const State state = States().at("mobilenet_v3_small");
  std::set<std::string> wanted(state.counters.begin(), state.counters.end());
  for (const auto& [name, shape] : state.trained) wanted.insert(name);
  for (const auto& [name, shape] : state.statistics) wanted.insert(name);
  EXPECT_EQ(NamesIn(path), wanted);
}

TEST(MobileModelTest, AVariantIsReadAsItWasWritten) {
  const testing::ScratchDirectory folder;
  const std::string path = folder.File("model");
  const VisionVariant variant = {.width_multiplier = 0.35,
                                 .norm = Norm::kGroup};
  const ModelConfig config = ConfigOf("mobilenet_v2", variant);
  const ParameterVector weights = InitialWeights(*NetworkOf(config), 1);
  ASSERT_TRUE(WriteVisionModel(path, config, weights, {}).ok());
  const auto model = ModelFile::Open(path);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->config().variant, variant);
  EXPECT_EQ(*ReadVisionWeights(**model), weights);
  EXPECT_THAT(*ReadVisionStatistics(**model), IsEmpty());
  for (const std::string& name : NamesIn(path)) {
    EXPECT_THAT(name, Not(HasSubstr("running_")));
    EXPECT_THAT(name, Not(HasSubstr("num_batches")));
  }
}

TEST(MobileModelTest, PixelsAreNormalisedAsTheConfigSays) {
  const auto with = [](const std::string& mean, const std::string& deviation) {
    return ParseVisionConfig(
        R"({"architecture":"mcmahan_cnn","channels":2,"height":9,"width":9,)"
        R"("classes":10,"pixel_mean":)" +
        mean + R"(,"pixel_deviation":)" + deviation + "}");
  };
  const auto config = with("[0.5,0]", "[0.25,1]");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->pixels, (PixelNorm{{0.5, 0}, {0.25, 1}}));
  const auto again = ParseVisionConfig(VisionConfigText(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->pixels, config->pixels);
  for (const char* mean : {"[0.5]", "[0.5,0,0]", "0.5", "[0.5,\"0\"]", "[]",
                           "[0.5,1.5]", "[-0.1,0]", "null"}) {
    EXPECT_THAT(with(mean, "[1,1]").status().ToString(),
                HasSubstr("\"pixel_mean\" must be"));
  }
  for (const char* deviation : {"[1]", "[1,0]", "[1,-1]", "[1,124]", "{}"}) {
    EXPECT_THAT(with("[0,0]", deviation).status().ToString(),
                HasSubstr("\"pixel_deviation\" must be"));
  }
  const auto half = ParseVisionConfig(
      R"({"architecture":"mcmahan_cnn","channels":1,"height":9,"width":9,)"
      R"("classes":10,"pixel_mean":[0.5]})");
  EXPECT_THAT(half.status().ToString(), HasSubstr("together with"));
}

TEST(MobileModelTest, AWrongVariantInAConfigIsRefusedByName) {
  const auto with = [](const std::string& architecture,
                       const std::string& field) {
    return ParseVisionConfig(
        R"({"architecture":")" + architecture +
        R"(","channels":3,"height":32,"width":32,"classes":10)" + field + "}");
  };
  const auto plain = with("mobilenet_v2", "");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->variant, VisionVariant{});
  const auto whole = with("mobilenet_v2", R"(,"width_multiplier":2)");
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->variant.width_multiplier, 2);
  for (const char* field :
       {R"(,"width_multiplier":"1")", R"(,"width_multiplier":0)",
        R"(,"width_multiplier":1e9)", R"(,"width_multiplier":null)"}) {
    EXPECT_THAT(with("mobilenet_v2", field).status().ToString(),
                HasSubstr("width_multiplier"));
  }
  for (const char* field :
       {R"(,"norm":"layer")", R"(,"norm":7)", R"(,"norm":"")"}) {
    EXPECT_THAT(with("mobilenet_v2", field).status().ToString(),
                HasSubstr("\"norm\" must be"));
  }
  EXPECT_THAT(with("mcmahan_cnn", R"(,"norm":"group")").status().ToString(),
              HasSubstr("mcmahan_cnn has neither"));
  EXPECT_TRUE(with("mcmahan_cnn", R"(,"norm":"batch")").ok());
}

}  // namespace
}  // namespace edgetune
