// The networks of mobile devices: their states are torchvision's, and models of
// them on disk. vectors/vision_states.txt is made by
// tests/training_torch/make_mobile_vectors.py.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <set>
#include <sstream>

#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/hf/safetensors.h"
#include "models/io/vision/vision_model.h"
#include "models/io/vision/vision_network.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using Norm = VisionVariant::Norm;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Named = std::pair<std::string, std::vector<int64_t>>;

// Of one architecture with 3 channels and 1,000 classes.
struct State {
  size_t parameters = 0;
  std::vector<Named> trained, statistics;
  std::vector<std::string> counters;  // num_batches_tracked
};

std::vector<int64_t> ShapeOf(const std::string& text) {
  std::vector<int64_t> shape;
  std::istringstream in(text);
  for (std::string side; std::getline(in, side, ',');) {
    shape.push_back(std::stoll(side));
  }
  return shape;
}

// A line "= NAME PARAMETERS" a network, then a line a module: its name, its
// weight's shape and, where it has one, "bias" or "norm".
std::map<std::string, State> States() {
  std::ifstream file(std::string(EDGETUNE_SOURCE_DIR) +
                     "/tests/models_io/vectors/vision_states.txt");
  std::map<std::string, State> states;
  State* state = nullptr;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, shape, kind;
    words >> name >> shape >> kind;
    if (name == "#") continue;
    if (name == "=") {
      state = &states[shape];
      state->parameters = std::stoull(kind);
      continue;
    }
    const std::vector<int64_t> weight = ShapeOf(shape);
    state->trained.push_back({name + ".weight", weight});
    if (kind.empty()) continue;
    state->trained.push_back({name + ".bias", {weight[0]}});
    if (kind == "bias") continue;
    state->statistics.push_back({name + ".running_mean", weight});
    state->statistics.push_back({name + ".running_var", weight});
    state->counters.push_back(name + ".num_batches_tracked");
  }
  return states;
}

ModelConfig ConfigOf(const std::string& architecture,
                     const VisionVariant& variant = {}) {
  ModelConfig config;
  config.architecture = architecture;
  config.image = ImageShape{3, 32, 32};
  config.vocab = 1000;
  config.variant = variant;
  return config;
}

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
// of up to 2 million values is above 3 and below 7 deviations.
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
    EXPECT_GT(largest, 3 * law.deviation);
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
