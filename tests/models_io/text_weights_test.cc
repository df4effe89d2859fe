#include "models/io/text_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/atomic_file.h"
#include "models/io/model_writer.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::ScratchDirectory;
using testing::TinyModelOptions;
using testing::WriteTinyHfModel;
using testing::WriteTinyModel;

TEST(TextWeightsTest, ModelsComeBackFromTheirVectorInBothFormats) {
  for (const bool tied : {true, false}) {
    for (const char* architecture : {"llama", "qwen2"}) {
      const ScratchDirectory folder;
      const std::string from = folder.File("tiny.gguf");
      ASSERT_TRUE(
          WriteTinyModel(from, {.architecture = architecture, .tied = tied})
              .ok());
      const auto model = *ModelFile::Open(from);
      const auto layout = TextLayoutOf(model->config());
      const auto weights = ReadTextWeights(*model);
      ASSERT_TRUE(layout.ok() && weights.ok()) << weights.status();
      const auto source = MakeTextSource(*layout, *weights);
      const std::string gguf = folder.File("again.gguf");
      const std::string hf = folder.File("again");
      const ModelDescription about = DescriptionOf(*model);
      const auto plain = [&](ModelFormat format) {
        return *MakePlainEncoder(*source, std::nullopt, format);
      };
      ASSERT_TRUE(
          WriteGgufModel(gguf, about, *source, *plain(ModelFormat::kGguf))
              .ok());
      ASSERT_TRUE(
          WriteHfModel(hf, about, *source, *plain(ModelFormat::kHuggingFace))
              .ok());
      for (const std::string& path : {gguf, hf}) {
        const auto again = ModelFile::Open(path);
        ASSERT_TRUE(again.ok()) << again.status();
        EXPECT_EQ(*ReadTextWeights(**again), *weights) << path;
        EXPECT_EQ((*again)->tokenizer().size(), model->tokenizer().size());
      }
    }
  }
}

TEST(TextWeightsTest, FirstWeightsAreSmallAndNormsOne) {
  const ScratchDirectory folder;
  ASSERT_TRUE(
      WriteTinyModel(folder.File("m.gguf"), {.architecture = "qwen2"}).ok());
  const auto model = *ModelFile::Open(folder.File("m.gguf"));
  const ParameterLayout layout = *TextLayoutOf(model->config());
  const ParameterVector values = InitialTextWeights(layout, 7);
  EXPECT_EQ(values, InitialTextWeights(layout, 7));
  EXPECT_NE(values, InitialTextWeights(layout, 8));
  size_t biases = 0;
  for (const auto& tensor : layout.tensors()) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < tensor.count; ++i) {
      sum += values[tensor.offset + i];
      squares += std::pow(values[tensor.offset + i], 2);
    }
    const auto n = static_cast<double>(tensor.count);
    if (tensor.name.ends_with(".bias")) {
      ++biases;
      EXPECT_EQ(squares, 0);
    } else if (tensor.shape.size() == 1) {
      EXPECT_EQ(sum, n);
      EXPECT_EQ(squares, n);
    } else {
      EXPECT_NEAR(sum / n, 0, 0.02 * 5 / std::sqrt(n)) << tensor.name;
      EXPECT_NEAR(std::sqrt(squares / n), 0.02, 0.002) << tensor.name;
    }
  }
  EXPECT_EQ(biases, 6);
}

TEST(TextWeightsTest, RowsOutsideOfATensorAreRefused) {
  ModelConfig config;
  ParameterLayout layout = *ParameterLayout::Make({{"m", {3, 2}}, {"v", {4}}});
  const ParameterVector values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const auto source = MakeTextSource(layout, values);
  std::vector<float> out(4);
  ASSERT_TRUE(source->ReadRows("m", 1, 3, out).ok());
  EXPECT_THAT(out, ::testing::ElementsAre(2, 3, 4, 5));
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{
           {2, 4}, {-1, 1}, {1, 1}, {3, 5}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(source->ReadRows("m", begin, end, out)))
        << begin;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(source->ReadRows("x", 0, 1, out)));
}

TEST(TextWeightsTest, AConfigurationIsReadAlone) {
  const ScratchDirectory folder;
  ASSERT_TRUE(WriteTinyHfModel(folder.File("tiny")).ok());
  const auto config = ReadTextConfig(folder.File("tiny") + "/config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden, 64);
  EXPECT_EQ(config->layers, 2);
  EXPECT_TRUE(
      absl::IsNotFound(ReadTextConfig(folder.File("none.json")).status()));
  const std::string bad = folder.File("bad.json");
  ASSERT_TRUE(WriteFileAtomically(bad, "{\"model_type\":\"gpt2\"}").ok());
  const auto refused = ReadTextConfig(bad);
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("model_type"));
}

TEST(TextWeightsTest, AModelOfImagesHasNone) {
  ModelConfig config;
  config.architecture = "mcmahan_2nn";
  config.image = ImageShape{1, 28, 28};
  EXPECT_TRUE(absl::IsInvalidArgument(TextLayoutOf(config).status()));
}

}  // namespace
}  // namespace edgetune
