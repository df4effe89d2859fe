#include "models/io/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <tuple>

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/model_tensors.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One directory for the program; a model stays mapped after its removal.
std::string PathOf(const std::string& name) {
  static const testing::ScratchDirectory directory;
  return directory.File(name + ".gguf");
}

absl::StatusOr<std::unique_ptr<ModelFile>> Opened(const GgufWriter& writer,
                                                  const std::string& name) {
  EXPECT_TRUE(writer.Write(PathOf(name)).ok());
  return ModelFile::Open(PathOf(name));
}

void ExpectRefused(const GgufWriter& writer, const std::string& message) {
  const auto model = Opened(writer, "refused");
  ASSERT_FALSE(model.ok()) << "wanted: " << message;
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
  EXPECT_EQ(KindOf(model.status()), ErrorKind::kModel);
  EXPECT_EQ(ExitCodeOf(model.status()), 4);
}

std::vector<float> Row(const ModelFile& model, const std::string& name,
                       int64_t row, size_t columns) {
  std::vector<float> out(columns);
  EXPECT_TRUE(model.ReadRows(name, row, row + 1, out).ok());
  return out;
}

TEST(ModelFileTest, ReadsTheConfiguration) {
  const auto model = Opened(testing::MakeTinyModel(), "config");
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& c = (*model)->config();
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.name, "tiny");
  EXPECT_THAT(
      (std::vector<int64_t>{c.hidden, c.ffn, c.layers, c.heads, c.kv_heads,
                            c.head_dim, c.vocab, c.context}),
      ElementsAre(64, 96, 2, 4, 2, 16, 300, 256));
  EXPECT_FLOAT_EQ(c.rms_eps, 1e-5);
  EXPECT_EQ(c.rope_theta, 10000);
  EXPECT_TRUE(c.tied);
  EXPECT_EQ((*model)->tokenizer().eos(), 2);
  EXPECT_EQ((*model)->chat_template().default_system(),
            testing::kTinyDefaultSystem);
  EXPECT_EQ((*model)->tensors().size(), 2u + 2 * 9);
}

TEST(ModelFileTest, AcceptsWideCountsAndAnUntiedHead) {
  testing::TinyModelOptions options;
  options.tied = false;
  GgufWriter writer = testing::MakeTinyModel(options);
  writer.Set("llama.block_count", uint64_t{2});
  const auto model = Opened(writer, "untied");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE((*model)->config().tied);
  EXPECT_EQ((*model)->tensors().back().name, "lm_head.weight");
}

// Every element of row r of blk.0.attn_q and of attn_v is r.
GgufWriter NumberedRows() {
  testing::TinyModelOptions options;
  options.layers = 0;
  GgufWriter writer = testing::MakeTinyModel(options);
  writer.Set("llama.block_count", uint32_t{1});
  auto add = [&](const char* name, int64_t rows, int64_t columns) {
    std::vector<float> values(rows * columns);
    for (size_t i = 0; i < values.size(); ++i) values[i] = i / columns;
    std::vector<int64_t> shape = {rows, columns};
    if (rows == 1) shape = {columns};
    writer.AddTensor(std::string("blk.0.") + name + ".weight", shape, values);
  };
  add("attn_norm", 1, 64), add("ffn_norm", 1, 64);
  add("attn_q", 64, 64), add("attn_k", 32, 64), add("attn_v", 32, 64);
  add("attn_output", 64, 64), add("ffn_gate", 96, 64), add("ffn_up", 96, 64);
  add("ffn_down", 64, 96);
  return writer;
}

TEST(ModelFileTest, UndoesTheRowOrderOfQueryAndKeyOnly) {
  const auto opened = Opened(NumberedRows(), "numbered");
  ASSERT_TRUE(opened.ok()) << opened.status();
  auto first = [&](const char* name, int64_t row) {
    return Row(**opened, std::string("model.layers.0.") + name + ".weight", row,
               64)[0];
  };
  // Heads of 16: gguf[h*16 + 2i + j] = hf[h*16 + 8j + i], by hand.
  EXPECT_EQ(first("self_attn.q_proj", 1), 2);
  EXPECT_EQ(first("self_attn.q_proj", 8), 1);
  EXPECT_EQ(first("self_attn.q_proj", 15), 15);
  EXPECT_EQ(first("self_attn.q_proj", 48 + 9), 48 + 3);
  EXPECT_EQ(first("self_attn.k_proj", 16 + 7), 16 + 14);
  EXPECT_EQ(first("self_attn.v_proj", 1), 1);
  EXPECT_EQ(first("self_attn.o_proj", 9), 9);
  EXPECT_EQ(first("mlp.up_proj", 95), 95);
}

TEST(ModelFileTest, ReadsAnyRangeOfRows) {
  testing::TinyModelOptions options;
  options.linear_type = BlockType::kQ4_1;
  options.embedding_type = BlockType::kQ8_0;
  const auto model = *Opened(testing::MakeTinyModel(options), "ranges");
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  std::vector<float> all(32 * 64), part(5 * 64);
  ASSERT_TRUE(model->ReadRows(name, 0, 32, all).ok());
  ASSERT_TRUE(model->ReadRows(name, 14, 19, part).ok());
  EXPECT_EQ(part,
            std::vector<float>(all.begin() + 14 * 64, all.begin() + 19 * 64));
  EXPECT_TRUE(model->ReadRows(name, 3, 3, {}).ok());
  EXPECT_EQ(model->tensors()[0].type, "Q8_0");
}

TEST(ModelFileTest, QuantisedTinyModelIsNearTheFloatOne) {
  testing::TinyModelOptions options;
  const auto exact = *Opened(testing::MakeTinyModel(options), "exact");
  options.linear_type = BlockType::kQ8_0;
  const auto rounded = *Opened(testing::MakeTinyModel(options), "rounded");
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  const auto a = Row(*exact, name, 7, 96), b = Row(*rounded, name, 7, 96);
  float largest = 0;
  for (float x : a) largest = std::max(largest, std::fabs(x));
  // Half a step of 1/127, and the step itself rounded to a half float.
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i], b[i], largest * (0.5 / 127 + 0.0006));
  }
  EXPECT_NE(a, b);
}

TEST(ModelFileTest, RefusesRowsThatAreNotThere) {
  const auto model = *Opened(testing::MakeTinyModel(), "rows");
  std::vector<float> out(64);
  for (const auto& [name, begin, end] :
       std::vector<std::tuple<const char*, int64_t, int64_t>>{
           {"nope", 0, 1},
           {"model.norm.weight", 1, 2},
           {"model.norm.weight", -1, 0},
           {"model.embed_tokens.weight", 300, 301},
           {"model.embed_tokens.weight", 5, 4},
           {"model.embed_tokens.weight", 0, 2}}) {
    EXPECT_EQ(model->ReadRows(name, begin, end, out).code(),
              absl::StatusCode::kInvalidArgument)
        << name << begin;
  }
}

TEST(ModelFileTest, RefusesWhatItDoesNotKnowByName) {
  const auto with = [](const char* key, GgufScalar value) {
    GgufWriter writer = testing::MakeTinyModel();
    writer.Set(key, std::move(value));
    return writer;
  };
  ExpectRefused(with("general.architecture", "mamba"), "'mamba'");
  ExpectRefused(with("general.type", "adapter"), "'adapter'");
  ExpectRefused(with("tokenizer.ggml.model", "llama"), "'llama'");
  ExpectRefused(with("tokenizer.ggml.pre", "tekken"), "'tekken'");
  ExpectRefused(with("llama.rope.scaling.type", "yarn"), "'yarn'");
  ExpectRefused(with("llama.expert_count", uint32_t{8}), "expert_count");
  ExpectRefused(with("split.count", uint32_t{2}), "split.count");
  ExpectRefused(with("tokenizer.ggml.eos_token_id", uint32_t{300}),
                "vocabulary of 300");
}

TEST(ModelFileTest, RefusesImpossibleConfigurations) {
  const auto with = [](const char* key, GgufScalar value) {
    GgufWriter writer = testing::MakeTinyModel();
    writer.Set(key, std::move(value));
    return writer;
  };
  ExpectRefused(with("llama.attention.head_count", uint32_t{0}), "head_count");
  ExpectRefused(with("llama.attention.head_count", uint32_t{5}), "5 heads");
  ExpectRefused(with("llama.attention.head_count_kv", uint32_t{3}), "grouped");
  ExpectRefused(with("llama.rope.dimension_count", uint32_t{8}), "wanted 16");
  ExpectRefused(with("llama.rope.freq_base", -1.0f), "positive");
  ExpectRefused(with("llama.vocab_size", uint32_t{301}), "wanted 300");
  ExpectRefused(with("llama.block_count", uint32_t{3}), "blk.2.attn_norm");
  ExpectRefused(with("llama.block_count", uint32_t{1 << 23}), "blk.2.");
  ExpectRefused(with("llama.block_count", uint32_t{1}), "blk.1.");
  ExpectRefused(with("llama.embedding_length", "64"), "type string");
}

TEST(ModelFileTest, RefusesTensorsTooMany) {
  GgufWriter writer = testing::MakeTinyModel();
  writer.AddTensor("blk.0.attn_q.bias", {64}, std::vector<float>(64));
  ExpectRefused(writer, "blk.0.attn_q.bias");
}

TEST(ModelFileTest, ReadsQwen2WithBiasesAndUnpermutedRows) {
  testing::TinyModelOptions options;
  options.architecture = "qwen2";
  const GgufWriter writer = testing::MakeTinyModel(options);
  const auto opened = Opened(writer, "qwen2");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->config().architecture, "qwen2");
  EXPECT_TRUE((*opened)->config().qkv_bias);
  EXPECT_EQ((*opened)->tensors().size(), 2u + 2 * 12);
  const auto file = *GgufFile::Open(PathOf("qwen2"));
  const GgufTensor* stored = file->FindTensor("blk.1.attn_q.weight");
  std::vector<float> row(64);
  Dequantise(stored->type, stored->data.subspan(9 * 64 * 4, 64 * 4), row);
  EXPECT_EQ(Row(**opened, "model.layers.1.self_attn.q_proj.weight", 9, 64),
            row);
}

TEST(ModelFileTest, ReadsLlama3FrequenciesAndTheirParameters) {
  testing::TinyModelOptions options;
  const Llama3RopeScaling scaling = {8, 1, 4, 64};
  options.rope_divisors = RopeDivisorsOf(scaling, 10000, 16);
  const auto opened = Opened(testing::MakeTinyModel(options), "llama3");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->config().rope_divisors, options.rope_divisors);
  EXPECT_EQ((*opened)->config().rope_scaling, scaling);
  options.rope_divisors[3] = 7;  // no such curve
  const auto other = Opened(testing::MakeTinyModel(options), "own");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->config().rope_scaling, std::nullopt);
}

TEST(ModelFileTest, RefusesFrequenciesThatAreNoDivisors) {
  testing::TinyModelOptions options;
  options.rope_divisors = std::vector<float>(7, 1);
  ExpectRefused(testing::MakeTinyModel(options), "wanted [8]");
  options.rope_divisors = std::vector<float>(8, 0);
  ExpectRefused(testing::MakeTinyModel(options), "positive");
  options.rope_divisors = std::vector<float>(8, 1);
  options.architecture = "qwen2";
  ExpectRefused(testing::MakeTinyModel(options), "qwen2");
}

TEST(ModelFileTest, OtherChatTemplatesDoNotStopAModelFromOpening) {
  GgufWriter writer = testing::MakeTinyModel();
  writer.Set("tokenizer.chat_template", "[INST]");
  const auto opened = Opened(writer, "template");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_FALSE((*opened)->chat_template().present());
  EXPECT_EQ((*opened)->chat_template().source(), "[INST]");
}

TEST(ModelFileTest, AllTokensThatEndATextAreKnown) {
  GgufWriter writer = testing::MakeTinyModel();
  writer.Set("tokenizer.ggml.eot_token_id", uint32_t{0});
  writer.Set("tokenizer.ggml.eom_token_id", uint32_t{2});
  const auto opened = Opened(writer, "ends");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT((*opened)->config().end_tokens, ElementsAre(2, 0));
}

TEST(ModelFileTest, NamesMissingAndDamagedFiles) {
  auto missing = ModelFile::Open(PathOf("none")).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(KindOf(missing), ErrorKind::kModel);
  EXPECT_FALSE(HintOf(missing).empty());
  const std::string file = *testing::MakeTinyModel().Serialise();
  ASSERT_TRUE(
      WriteFileAtomically(PathOf("cut"), file.substr(0, file.size() / 2)).ok());
  auto cut = ModelFile::Open(PathOf("cut")).status();
  EXPECT_EQ(cut.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(cut.message()), HasSubstr(PathOf("cut")));
  EXPECT_FALSE(ModelFile::Open(::testing::TempDir()).ok());
}

TEST(ModelFileTest, FlippedHeaderBitsNeverCrash) {
  std::string file = *testing::MakeTinyModel().Serialise();
  Random random(11);
  for (int i = 0; i < 300; ++i) {
    const size_t at = random.Below(9000);
    const char bit = static_cast<char>(1 << random.Below(8));
    file[at] ^= bit;
    std::ofstream(PathOf("flip"), std::ios::binary) << file;
    const auto model = ModelFile::Open(PathOf("flip"));
    if (!model.ok()) {
      EXPECT_EQ(KindOf(model.status()), ErrorKind::kModel);
    }
    file[at] ^= bit;
  }
}

}  // namespace
}  // namespace edgetune
