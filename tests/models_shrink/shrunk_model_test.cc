#include "models/shrink/shrunk_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "models/io/model_writer.h"
#include "tests/models_shrink/whole_model.h"

namespace edgetune {
namespace {

using testing::ExpectSameTensors;
using ::testing::HasSubstr;
using testing::InfoOf;
using testing::LayerTensor;
using testing::OpenTinyModel;
using testing::WholeTensor;

// Rows and columns of a matrix of `width` columns, by their numbers.
std::vector<float> Picked(const std::vector<float>& whole, int64_t width,
                          const std::vector<int64_t>& rows,
                          const std::vector<int64_t>& columns) {
  std::vector<float> out;
  for (const int64_t row : rows) {
    for (const int64_t column : columns) {
      out.push_back(whole[row * width + column]);
    }
  }
  return out;
}

std::vector<int64_t> FromTo(int64_t begin, int64_t end) {
  std::vector<int64_t> out;
  for (int64_t i = begin; i < end; ++i) out.push_back(i);
  return out;
}

std::unique_ptr<ModelFile> Rewritten(const ModelFile& model, ModelFormat format,
                                     const std::string& path) {
  auto encoder = MakePlainEncoder(model, BlockType::kF32, format);
  const auto write =
      format == ModelFormat::kGguf ? WriteGgufModel : WriteHfModel;
  const absl::Status written =
      write(path, DescriptionOf(model), model, **encoder, {});
  EXPECT_TRUE(written.ok()) << written;
  auto opened = ModelFile::Open(path);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

class ShrunkModelTest : public ::testing::Test {
 protected:
  const testing::ScratchDirectory scratch_;
};

TEST_F(ShrunkModelTest, KeepingEverythingChangesNoBit) {
  for (const char* architecture : {"llama", "qwen2"}) {
    const auto whole =
        OpenTinyModel(scratch_, {.architecture = architecture,
                                 .tied = false,
                                 .linear_type = BlockType::kQ4_1,
                                 .embedding_type = BlockType::kQ8_0});
    KeptParts kept = EverythingOf(whole->config());
    const auto same = MakeShrunkModel(*whole, kept).value();
    ExpectSameTensors(*whole, *same);
    for (size_t i = 0; i < whole->tensors().size(); ++i) {
      EXPECT_EQ(same->tensors()[i].name, whole->tensors()[i].name);
      EXPECT_EQ(same->tensors()[i].type, whole->tensors()[i].type);
      EXPECT_EQ(same->tensors()[i].bytes, whole->tensors()[i].bytes);
      EXPECT_EQ(same->Stored(whole->tensors()[i].name)->data,
                whole->Stored(whole->tensors()[i].name)->data);
    }
    EXPECT_EQ(same->config().vocab, whole->config().vocab);
    EXPECT_EQ(&same->tokenizer(), &whole->tokenizer());
    // All tokens by their numbers is the same again.
    kept.tokens.emplace();
    for (int32_t id = 0; id < whole->tokenizer().size(); ++id) {
      kept.tokens->push_back(id);
    }
    const auto numbered = MakeShrunkModel(*whole, kept).value();
    ExpectSameTensors(*whole, *numbered);
    EXPECT_EQ(numbered->tokenizer().data().merges,
              whole->tokenizer().data().merges);
  }
}

TEST_F(ShrunkModelTest, LayersMoveUpInTheirOrder) {
  const auto whole = OpenTinyModel(scratch_, {.layers = 5});
  KeptParts kept = EverythingOf(whole->config());
  kept.layers.erase(kept.layers.begin() + 3);
  kept.layers.erase(kept.layers.begin());
  const auto shrunk = MakeShrunkModel(*whole, kept).value();
  EXPECT_EQ(shrunk->config().layers, 3);
  EXPECT_EQ(shrunk->tensors().size(), 2u + 3 * 9);
  for (int64_t layer = 0; layer < 3; ++layer) {
    const int64_t from = std::vector<int64_t>{1, 2, 4}[layer];
    for (const char* rest : {"self_attn.q_proj.weight", "mlp.down_proj.weight",
                             "input_layernorm.weight"}) {
      EXPECT_EQ(WholeTensor(*shrunk, LayerTensor(layer, rest)),
                WholeTensor(*whole, LayerTensor(from, rest)));
    }
  }
  EXPECT_EQ(WholeTensor(*shrunk, "model.norm.weight"),
            WholeTensor(*whole, "model.norm.weight"));
}

TEST_F(ShrunkModelTest, ChannelsAreRowsOfGateAndUpAndColumnsOfDown) {
  const auto whole = OpenTinyModel(scratch_, {.linear_type = BlockType::kQ8_0});
  KeptParts kept = EverythingOf(whole->config());
  // Runs, and channels alone; not the same in both layers.
  std::vector<int64_t> first = FromTo(3, 20), second;
  for (int64_t i = 21; i < 51; i += 2) first.push_back(i);
  for (int64_t i = 0; i < 64; i += 2) second.push_back(i);
  ASSERT_EQ(first.size(), second.size());
  kept.layers[0].channels = first;
  kept.layers[1].channels = second;
  const auto shrunk = MakeShrunkModel(*whole, kept).value();
  EXPECT_EQ(shrunk->config().ffn, 32);
  for (int64_t layer = 0; layer < 2; ++layer) {
    const auto& channels = kept.layers[layer].channels;
    for (const char* rest : {"mlp.gate_proj.weight", "mlp.up_proj.weight"}) {
      const std::string name = LayerTensor(layer, rest);
      EXPECT_EQ(WholeTensor(*shrunk, name),
                Picked(WholeTensor(*whole, name), 64, channels, FromTo(0, 64)));
      // Whole rows stay what they are in the file.
      EXPECT_EQ(InfoOf(*shrunk, name)->type, "Q8_0");
      EXPECT_EQ(InfoOf(*shrunk, name)->bytes, 32u * 2 * 34);
    }
    const std::string down = LayerTensor(layer, "mlp.down_proj.weight");
    EXPECT_EQ(WholeTensor(*shrunk, down),
              Picked(WholeTensor(*whole, down), 96, FromTo(0, 64), channels));
    EXPECT_EQ(InfoOf(*shrunk, down)->type, "F32");
    EXPECT_EQ(InfoOf(*shrunk, down)->bytes, 64u * 32 * 4);
  }
}

TEST_F(ShrunkModelTest, AGroupIsAKeyHeadWithItsQueryHeads) {
  const auto whole = OpenTinyModel(
      scratch_, {.architecture = "qwen2", .heads = 8, .kv_heads = 4});
  KeptParts kept = EverythingOf(whole->config());
  kept.layers[0].groups = {1, 3};
  kept.layers[1].groups = {0, 3};
  const auto shrunk = MakeShrunkModel(*whole, kept).value();
  const ModelConfig& config = shrunk->config();
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.hidden, 64);
  // Group g: query heads 2g and 2g + 1, of 8 rows each; key head g.
  const std::vector<int64_t> all = FromTo(0, 64);
  std::vector<int64_t> queries = FromTo(16, 32), keys = FromTo(8, 16);
  for (const int64_t row : FromTo(48, 64)) queries.push_back(row);
  for (const int64_t row : FromTo(24, 32)) keys.push_back(row);
  const auto matrix = [&](const char* rest) {
    return WholeTensor(*whole, LayerTensor(0, rest));
  };
  const auto cut = [&](const char* rest) {
    return WholeTensor(*shrunk, LayerTensor(0, rest));
  };
  const char* const kQ = "self_attn.q_proj.weight";
  EXPECT_EQ(cut(kQ), Picked(matrix(kQ), 64, queries, all));
  for (const char* name :
       {"self_attn.k_proj.weight", "self_attn.v_proj.weight"}) {
    EXPECT_EQ(cut(name), Picked(matrix(name), 64, keys, all));
  }
  const char* const kO = "self_attn.o_proj.weight";
  EXPECT_EQ(cut(kO), Picked(matrix(kO), 64, all, queries));
  EXPECT_EQ(cut("self_attn.q_proj.bias"),
            Picked(matrix("self_attn.q_proj.bias"), 64, {0}, queries));
  EXPECT_EQ(cut("self_attn.k_proj.bias"),
            Picked(matrix("self_attn.k_proj.bias"), 32, {0}, keys));
}

TEST_F(ShrunkModelTest, TokensAreRowsOfEmbeddingAndHead) {
  const auto whole = OpenTinyModel(scratch_, {.tied = false});
  KeptParts kept = EverythingOf(whole->config());
  kept.tokens.emplace();
  std::vector<int64_t> rows;
  for (int32_t id = 0; id < 259; ++id) kept.tokens->push_back(id);
  for (const int32_t id : {260, 271, 299}) kept.tokens->push_back(id);
  for (const int32_t id : *kept.tokens) rows.push_back(id);
  const auto shrunk = MakeShrunkModel(*whole, kept).value();
  EXPECT_EQ(shrunk->config().vocab, 262);
  EXPECT_EQ(shrunk->tokenizer().size(), 262);
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    EXPECT_EQ(WholeTensor(*shrunk, name),
              Picked(WholeTensor(*whole, name), 64, rows, FromTo(0, 64)));
  }
  EXPECT_EQ(shrunk->config().end_tokens, whole->config().end_tokens);
}

TEST_F(ShrunkModelTest, EndTokensMoveWithTheirTokens) {
  ModelConfig config = OpenTinyModel(scratch_)->config();
  config.end_tokens = {280, 5};
  KeptParts kept = EverythingOf(config);
  kept.tokens = {{0, 5, 7, 280}};
  const ModelConfig cut = ConfigOfKept(config, kept).value();
  EXPECT_EQ(cut.end_tokens, (std::vector<int32_t>{3, 1}));
  EXPECT_EQ(cut.vocab, 4);
}

TEST_F(ShrunkModelTest, WrittenInBothFormatsItOpensAsItIs) {
  const auto whole = OpenTinyModel(
      scratch_, {.layers = 3, .heads = 8, .kv_heads = 4, .tied = false});
  KeptParts kept = EverythingOf(whole->config());
  kept.layers.erase(kept.layers.begin() + 1);
  kept.layers[0].channels = FromTo(10, 42);
  kept.layers[1].channels = FromTo(60, 92);
  kept.layers[0].groups = {0, 2};
  kept.layers[1].groups = {1, 3};
  kept.tokens.emplace();
  for (int32_t id = 0; id < 280; ++id) kept.tokens->push_back(id);
  const auto shrunk = MakeShrunkModel(*whole, kept).value();
  for (const ModelFormat format :
       {ModelFormat::kGguf, ModelFormat::kHuggingFace}) {
    const auto opened = Rewritten(
        *shrunk, format,
        scratch_.File(format == ModelFormat::kGguf ? "cut.gguf" : "cut"));
    ExpectSameTensors(*shrunk, *opened);
    const ModelConfig& config = opened->config();
    EXPECT_EQ(config.layers, 2);
    EXPECT_EQ(config.ffn, 32);
    EXPECT_EQ(config.heads, 4);
    EXPECT_EQ(config.kv_heads, 2);
    EXPECT_EQ(config.head_dim, 8);
    EXPECT_EQ(config.vocab, 280);
    EXPECT_EQ(opened->tokenizer().data().merges,
              shrunk->tokenizer().data().merges);
    EXPECT_EQ(opened->chat_template().source(),
              whole->chat_template().source());
  }
}

TEST_F(ShrunkModelTest, RefusesWhatNoModelCanBe) {
  const auto whole = OpenTinyModel(scratch_);
  const auto expect_refused = [&](auto change, const char* words) {
    KeptParts kept = EverythingOf(whole->config());
    change(kept);
    const auto made = MakeShrunkModel(*whole, kept);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(made.status().message()), HasSubstr(words));
  };
  expect_refused([](KeptParts& k) { k.layers.clear(); }, "layers, none");
  expect_refused([](KeptParts& k) { std::swap(k.layers[0], k.layers[1]); },
                 "0 of the layers comes behind 1");
  expect_refused([](KeptParts& k) { k.layers[1].layer = 2; },
                 "ascending numbers below 2");
  expect_refused([](KeptParts& k) { k.layers[1].channels.pop_back(); },
                 "layer 1 keeps 95 channels");
  expect_refused([](KeptParts& k) { k.layers[0].channels = {96}; },
                 "96 of the feed-forward channels");
  expect_refused(
      [](KeptParts& k) {
        k.layers[0].channels = {5, 5};
      },
      "5 of the feed-forward channels comes behind 5");
  expect_refused([](KeptParts& k) { k.layers[0].groups.clear(); },
                 "groups of attention heads, none");
  expect_refused([](KeptParts& k) { k.layers[0].groups = {1}; },
                 "layer 1 keeps 96 channels and 2 groups");
  expect_refused([](KeptParts& k) { k.layers[0].groups = {-1}; }, "-1 of the");
  expect_refused(
      [](KeptParts& k) {
        k.tokens = {{0, 1, 400}};
      },
      "400 of the tokens");
  expect_refused(
      [](KeptParts& k) {
        k.tokens = {{0, 1, 3}};
      },
      "token 2 ends a text");
}

TEST_F(ShrunkModelTest, RefusesRowsThatAreNotThere) {
  const auto whole = OpenTinyModel(scratch_);
  KeptParts kept = EverythingOf(whole->config());
  for (KeptLayer& layer : kept.layers) layer.channels = FromTo(0, 32);
  const auto shrunk = MakeShrunkModel(*whole, kept).value();
  std::vector<float> row(64);
  const std::string gate = LayerTensor(0, "mlp.gate_proj.weight");
  EXPECT_TRUE(shrunk->ReadRows(gate, 31, 32, row).ok());
  EXPECT_FALSE(shrunk->ReadRows(gate, 32, 33, row).ok());
  EXPECT_FALSE(shrunk->ReadRows(gate, 0, 2, row).ok());
  EXPECT_FALSE(
      shrunk->ReadRows(LayerTensor(0, "mlp.down_proj.weight"), 0, 1, row).ok());
  EXPECT_FALSE(shrunk->ReadRows("none", 0, 1, row).ok());
  EXPECT_FALSE(shrunk->Stored(gate).has_value());
  EXPECT_FALSE(shrunk->Stored("none").has_value());
  shrunk->Release("none");
}

}  // namespace
}  // namespace edgetune
