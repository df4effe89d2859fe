#include "models/io/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/model_tensors.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::unique_ptr<ModelFile> OpenTiny(const testing::ScratchDirectory& scratch,
                                    const testing::TinyModelOptions& options) {
  const std::string path = scratch.File("tiny.gguf");
  EXPECT_TRUE(testing::WriteTinyModel(path, options).ok());
  return std::move(ModelFile::Open(path)).value();
}

// In its own types unless told otherwise.
absl::Status Write(const ModelFile& model, ModelFormat format,
                   const std::string& path,
                   std::optional<BlockType> type = std::nullopt,
                   const WriteOptions& options = {}) {
  EDGETUNE_ASSIGN_OR_RETURN(auto encoder,
                            MakePlainEncoder(model, type, format));
  const auto write =
      format == ModelFormat::kGguf ? WriteGgufModel : WriteHfModel;
  return write(path, DescriptionOf(model), model, *encoder, options);
}

std::unique_ptr<ModelFile> Written(const ModelFile& model, ModelFormat format,
                                   const std::string& path,
                                   std::optional<BlockType> type = {}) {
  const absl::Status status = Write(model, format, path, type);
  EXPECT_TRUE(status.ok()) << status;
  auto opened = ModelFile::Open(path);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return std::move(opened).value();
}

std::vector<float> ValuesOf(const ModelFile& model, const TensorInfo& tensor) {
  std::vector<float> out(tensor.rows() * tensor.columns());
  EXPECT_TRUE(model.ReadRows(tensor.name, 0, tensor.rows(), out).ok());
  return out;
}

void ExpectSameValues(const ModelFile& a, const ModelFile& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const TensorInfo& tensor : a.tensors()) {
    EXPECT_EQ(ValuesOf(a, tensor), ValuesOf(b, tensor)) << tensor.name;
  }
}

struct Shape {
  const char* name;
  const char* architecture;
  bool tied;
  Llama3RopeScaling scaling;  // factor 0: none
};

class RoundTrip
    : public ::testing::TestWithParam<std::tuple<Shape, BlockType>> {
 protected:
  std::unique_ptr<ModelFile> Tiny() const {
    const Shape& shape = std::get<0>(GetParam());
    testing::TinyModelOptions options;
    options.architecture = shape.architecture;
    options.tied = shape.tied;
    if (shape.scaling.factor > 0) {
      options.rope_divisors = RopeDivisorsOf(shape.scaling, 10000, 16);
    }
    return OpenTiny(scratch_, options);
  }
  const testing::ScratchDirectory scratch_;
};

TEST_P(RoundTrip, GgufToDirectoryToGgufKeepsEveryByte) {
  const auto tiny = Tiny();
  const std::string first = scratch_.File("1.gguf"),
                    second = scratch_.File("2.gguf");
  // One pass to the type in question; from there nothing changes any more.
  const auto gguf =
      Written(*tiny, ModelFormat::kGguf, first, std::get<1>(GetParam()));
  const auto hf =
      Written(*gguf, ModelFormat::kHuggingFace, scratch_.File("tiny"));
  ExpectSameValues(*gguf, *hf);
  const auto again = Written(*hf, ModelFormat::kGguf, second);
  EXPECT_EQ(*ReadFile(first), *ReadFile(second));
}

TEST_P(RoundTrip, DirectoryToGgufToDirectoryKeepsEveryByte) {
  const auto tiny = Tiny();
  const std::string a = scratch_.File("a"), b = scratch_.File("b");
  const auto hf =
      Written(*tiny, ModelFormat::kHuggingFace, a, std::get<1>(GetParam()));
  const auto gguf = Written(*hf, ModelFormat::kGguf, scratch_.File("1.gguf"));
  const auto again = Written(*gguf, ModelFormat::kHuggingFace, b);
  const auto names = *ModelFile::FilesOf(a);
  for (const std::string& name : names) {
    EXPECT_EQ(*ReadFile(a + "/" + name), *ReadFile(b + "/" + name)) << name;
  }
  EXPECT_EQ(again->config().rope_scaling, tiny->config().rope_scaling);
}

INSTANTIATE_TEST_SUITE_P(
    Models, RoundTrip,
    ::testing::Combine(
        ::testing::Values(Shape{"Llama", "llama", true, {}},
                          Shape{"Llama3", "llama", false, {8, 1, 4, 64}},
                          Shape{"Qwen2", "qwen2", true, {}}),
        ::testing::Values(BlockType::kF32, BlockType::kF16, BlockType::kBF16)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) +
             std::string(BlockShapeOf(std::get<1>(info.param)).name);
    });

class ModelWriterTest : public ::testing::Test {
 protected:
  const testing::ScratchDirectory scratch_;
};

TEST_F(ModelWriterTest, GgufRowsOfLlamaArePermutedByHand) {
  const auto tiny = OpenTiny(scratch_, {});
  ASSERT_TRUE(Write(*tiny, ModelFormat::kGguf, scratch_.File("out.gguf")).ok());
  const auto file = *GgufFile::Open(scratch_.File("out.gguf"));
  const auto stored = [&](const char* name, int64_t row) {
    std::vector<float> out(64);
    Dequantise(BlockType::kF32,
               file->FindTensor(name)->data.subspan(row * 256, 256), out);
    return out;
  };
  const auto row = [&](const std::string& name, int64_t at) {
    std::vector<float> out(64);
    EXPECT_TRUE(tiny->ReadRows("model.layers.0.self_attn." + name + ".weight",
                               at, at + 1, out)
                    .ok());
    return out;
  };
  // Heads of 16: gguf[h*16 + 2i + j] = hf[h*16 + 8j + i].
  EXPECT_EQ(stored("blk.0.attn_q.weight", 1), row("q_proj", 8));
  EXPECT_EQ(stored("blk.0.attn_q.weight", 48 + 6), row("q_proj", 48 + 3));
  EXPECT_EQ(stored("blk.0.attn_k.weight", 16 + 15), row("k_proj", 16 + 15));
  EXPECT_EQ(stored("blk.0.attn_k.weight", 3), row("k_proj", 9));
  EXPECT_EQ(stored("blk.0.attn_v.weight", 3), row("v_proj", 3));
}

TEST_F(ModelWriterTest, QuantisedModelsBecomeBrainFloats) {
  testing::TinyModelOptions options;
  options.linear_type = BlockType::kQ4_1;
  options.embedding_type = BlockType::kQ8_0;
  const auto tiny = OpenTiny(scratch_, options);
  const auto hf =
      Written(*tiny, ModelFormat::kHuggingFace, scratch_.File("hf"));
  EXPECT_EQ(hf->tensors()[0].type, "BF16");
  for (const TensorInfo& tensor : tiny->tensors()) {
    const auto a = ValuesOf(*tiny, tensor), b = ValuesOf(*hf, tensor);
    for (size_t i = 0; i < a.size(); ++i) {
      // Eight bits of mantissa, rounded to nearest; vectors keep all.
      const float limit =
          tensor.shape.size() < 2 ? 0 : std::fabs(a[i]) * 0x1p-8f;
      ASSERT_LE(std::fabs(a[i] - b[i]), limit) << tensor.name;
    }
  }
}

TEST_F(ModelWriterTest, CutsDirectoriesIntoShards) {
  const auto tiny = OpenTiny(scratch_, {});
  WriteOptions options;
  options.shard_bytes = 100'000;
  ASSERT_TRUE(Write(*tiny, ModelFormat::kHuggingFace, scratch_.File("hf"),
                    std::nullopt, options)
                  .ok());
  const auto hf = ModelFile::Open(scratch_.File("hf"));
  ASSERT_TRUE(hf.ok()) << hf.status();
  ExpectSameValues(*tiny, **hf);
  size_t shards = 0;
  const auto names = *ModelFile::FilesOf(scratch_.File("hf"));
  for (const std::string& name : names) {
    if (!name.ends_with(".safetensors")) continue;
    ++shards;
    EXPECT_LT(fs::file_size(scratch_.File("hf/" + name)), 102'000u);
  }
  EXPECT_GT(shards, 3u);
}

TEST_F(ModelWriterTest, RowsWithoutATokenGetOneAndLoseItAgain) {
  const auto tiny = OpenTiny(scratch_, {});
  ModelDescription model = DescriptionOf(*tiny);
  // The last merged token and its merge go: 299 tokens for 300 rows.
  model.tokenizer.tokens.pop_back();
  model.tokenizer.types.pop_back();
  model.tokenizer.merges.pop_back();
  const auto encoder =
      *MakePlainEncoder(*tiny, std::nullopt, ModelFormat::kGguf);
  const std::string path = scratch_.File("padded.gguf");
  ASSERT_TRUE(WriteGgufModel(path, model, *tiny, *encoder).ok());
  const auto padded = std::move(ModelFile::Open(path)).value();
  EXPECT_EQ(padded->tokenizer().IdOf("[PAD299]"), 299);
  const auto hf =
      Written(*padded, ModelFormat::kHuggingFace, scratch_.File("hf"));
  EXPECT_EQ(hf->tokenizer().size(), 299);
  EXPECT_EQ(hf->config().vocab, 300);
}

TEST_F(ModelWriterTest, AFailureLeavesNothingBehind) {
  const auto tiny = OpenTiny(scratch_, {});
  WriteOptions options;
  options.progress = [](uint64_t done, uint64_t total) {
    return done < total / 2 ? absl::OkStatus() : absl::CancelledError("no");
  };
  for (const ModelFormat format :
       {ModelFormat::kGguf, ModelFormat::kHuggingFace}) {
    const auto status =
        Write(*tiny, format, scratch_.File("out"), std::nullopt, options);
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  }
  fs::remove(scratch_.File("tiny.gguf"));
  EXPECT_TRUE(fs::is_empty(fs::path(scratch_.File("x")).parent_path()));
}

TEST_F(ModelWriterTest, NeverReplacesADirectory) {
  const auto tiny = OpenTiny(scratch_, {});
  fs::create_directory(scratch_.File("there"));
  EXPECT_EQ(
      Write(*tiny, ModelFormat::kHuggingFace, scratch_.File("there")).code(),
      absl::StatusCode::kAlreadyExists);
}

TEST_F(ModelWriterTest, TensorsMustBeThoseOfTheConfiguration) {
  const auto tiny = OpenTiny(scratch_, {});
  const auto encoder =
      *MakePlainEncoder(*tiny, std::nullopt, ModelFormat::kGguf);
  for (const int64_t layers : {1, 3}) {
    ModelDescription model = DescriptionOf(*tiny);
    model.config.layers = layers;
    EXPECT_EQ(
        WriteGgufModel(scratch_.File("out"), model, *tiny, *encoder).code(),
        absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(ModelWriterTest, AGgufCannotDescribeEveryTokenizer) {
  const auto tiny = OpenTiny(scratch_, {});
  const auto encoder =
      *MakePlainEncoder(*tiny, std::nullopt, ModelFormat::kGguf);
  ModelDescription model = DescriptionOf(*tiny);
  model.tokenizer.ignore_merges = true;
  const auto status =
      WriteGgufModel(scratch_.File("out"), model, *tiny, *encoder);
  EXPECT_THAT(std::string(status.message()), HasSubstr("ignore_merges"));
}

TEST_F(ModelWriterTest, DivisorsOfNoCurveCannotBecomeADirectory) {
  testing::TinyModelOptions options;
  options.rope_divisors = {1, 2, 1, 2, 1, 2, 1, 2};
  const auto tiny = OpenTiny(scratch_, options);
  const auto status =
      Write(*tiny, ModelFormat::kHuggingFace, scratch_.File("hf"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("rotary divisors"));
  EXPECT_FALSE(fs::exists(scratch_.File("hf")));
}

class EncoderTest : public ModelWriterTest {
 protected:
  // What is left of a value.
  absl::StatusOr<float> Through(BlockType type, float value) {
    const auto encoder =
        *MakePlainEncoder(*tiny_, type, ModelFormat::kHuggingFace);
    std::string bytes;
    EDGETUNE_RETURN_IF_ERROR(encoder->Encode(type, {&value, 1}, &bytes));
    float out = 0;
    Dequantise(type,
               {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
               {&out, 1});
    return out;
  }
  const std::unique_ptr<ModelFile> tiny_ = OpenTiny(scratch_, {});
};

TEST_F(EncoderTest, HalvesAreRoundedToNearestEven) {
  // IEEE 754: 11 bits of significand, exponents down to -14, then steps of
  // 2^-24.
  const std::pair<float, float> cases[] = {{1 + 0x1p-11f, 1},
                                           {1 + 0x3p-11f, 1 + 0x1p-9f},
                                           {1 + 0x1.01p-11f, 1 + 0x1p-10f},
                                           {-65504, -65504},
                                           {65519.996f, 65504},
                                           {0x1p-14f, 0x1p-14f},
                                           {0x1p-24f, 0x1p-24f},
                                           {0x1p-25f, 0},
                                           {0x1.02p-25f, 0x1p-24f},
                                           {-0x3p-25f, -0x2p-24f},
                                           {0x1.ffap-15f, 0x1.ff8p-15f},
                                           {0x1.ffcp-15f, 0x1p-14f},
                                           {-0.0f, -0.0f}};
  for (const auto& [value, wanted] : cases) {
    const auto got = Through(BlockType::kF16, value);
    ASSERT_TRUE(got.ok()) << value;
    EXPECT_EQ(*got, wanted) << value;
    EXPECT_EQ(std::signbit(*got), std::signbit(wanted)) << value;
  }
}

TEST_F(EncoderTest, BrainFloatsAreRoundedToNearestEven) {
  const std::pair<float, float> cases[] = {{1 + 0x1p-8f, 1},
                                           {1 + 0x3p-8f, 1 + 0x1p-6f},
                                           {1 + 0x1.01p-8f, 1 + 0x1p-7f},
                                           {-0x1p-133f, -0x1p-133f},
                                           {0x1p-134f, 0},
                                           {0x1.fep127f, 0x1.fep127f}};
  for (const auto& [value, wanted] : cases) {
    const auto got = Through(BlockType::kBF16, value);
    ASSERT_TRUE(got.ok()) << value;
    EXPECT_EQ(*got, wanted) << value;
  }
}

TEST_F(EncoderTest, WhatDoesNotFitIsRefused) {
  EXPECT_FALSE(Through(BlockType::kF16, 65520).ok());
  EXPECT_FALSE(Through(BlockType::kF16, 1e9).ok());
  EXPECT_FALSE(Through(BlockType::kBF16, 0x1.ffp127f).ok());
  for (const BlockType type :
       {BlockType::kF32, BlockType::kF16, BlockType::kBF16}) {
    EXPECT_FALSE(Through(type, std::nanf("")).ok());
    EXPECT_FALSE(Through(type, -std::numeric_limits<float>::infinity()).ok());
  }
}

}  // namespace
}  // namespace edgetune
