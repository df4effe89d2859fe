// The reference model itself: EDGETUNE_SMOLLM2_GGUF names
// SmolLM2-135M-Instruct.Q4_1.gguf (formats design, section 1).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "base/units.h"
#include "models/io/model_file.h"
#include "tests/models_io/vector_file.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;

class Smollm2Test : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("EDGETUNE_SMOLLM2_GGUF");
    if (path == nullptr) GTEST_SKIP() << "EDGETUNE_SMOLLM2_GGUF is not set";
    auto model = ModelFile::Open(path);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = std::move(*model);
  }
  std::vector<int32_t> Ids(std::string_view text) {
    return model_->tokenizer().Encode(text, false);
  }
  float Value(const std::string& name, int64_t row, size_t column) {
    std::vector<float> out(576);
    EXPECT_TRUE(model_->ReadRows(name, row, row + 1, out).ok());
    return out[column];
  }
  double Sum(const std::string& name, int64_t rows, int64_t columns) {
    std::vector<float> out(rows * columns);
    EXPECT_TRUE(model_->ReadRows(name, 0, rows, out).ok());
    return std::accumulate(out.begin(), out.end(), 0.0);
  }
  std::unique_ptr<ModelFile> model_;
};

TEST_F(Smollm2Test, HasTheReferenceConfiguration) {
  const ModelConfig& c = model_->config();
  EXPECT_THAT(
      (std::vector<int64_t>{c.hidden, c.ffn, c.layers, c.heads, c.kv_heads,
                            c.head_dim, c.vocab, c.context}),
      ElementsAre(576, 1536, 30, 9, 3, 64, 49152, 8192));
  EXPECT_EQ(c.rope_theta, 100000);
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(model_->tensors().size(), 272u);
  EXPECT_FALSE(model_->tokenizer().add_bos());
}

TEST_F(Smollm2Test, EncodesTheDesignsTexts) {
  // Formats design, section 4.
  EXPECT_THAT(Ids("The capital of France is"),
              ElementsAre(504, 3575, 282, 4649, 314));
  EXPECT_THAT(Ids("Hello world! 123"),
              ElementsAre(19556, 905, 17, 216, 33, 34, 35));
  EXPECT_THAT(Ids("  multiple   spaces"), ElementsAre(216, 2701, 256, 5600));
  EXPECT_THAT(Ids("Caf\xC3\xA9 d\xC3\xA9j\xC3\xA0 vu."),
              ElementsAre(51, 1939, 2756, 32564, 90, 16739, 386, 101, 30));
  EXPECT_THAT(Ids("\n"), ElementsAre(198));
  EXPECT_THAT(Ids("a  1"), ElementsAre(81, 256, 33));
  EXPECT_THAT(Ids("  12"), ElementsAre(256, 33, 34));
  EXPECT_THAT(Ids("x\n\n3"), ElementsAre(104, 1116, 35));
  EXPECT_THAT(Ids("a\x04"
                  "b"),
              ElementsAre(81, 82));
}

TEST_F(Smollm2Test, EncodesAsTheTokenizersLibraryDoes) {
  // smollm2.tsv: made with PyPI tokenizers (make_tokenizer_vectors.py).
  const auto rows = testing::ReadVectors("smollm2.tsv");
  ASSERT_EQ(rows.size(), 200u);
  for (const auto& row : rows) {
    const std::string text = *FromHex(row[0]);
    EXPECT_EQ(model_->tokenizer().Encode(text, true),
              testing::Numbers<int32_t>(row[1]))
        << text;
  }
}

TEST_F(Smollm2Test, LabelsTheDesignsChat) {
  // Formats design, section 5; loss on the four tokens before the last.
  const std::vector<ChatMessage> chat = {{"user", "Define: dog"},
                                         {"assistant", "a domestic animal"}};
  const auto tokens =
      model_->chat_template().Encode(model_->tokenizer(), chat, false);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(tokens->tokens,
              ElementsAre(1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365,
                          3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2,
                          198, 1, 4093, 198, 43119, 42, 2767, 2, 198, 1, 520,
                          9531, 198, 81, 5747, 3161, 2, 198));
  std::vector<uint8_t> labelled(38);
  for (size_t i = 33; i < 37; ++i) labelled[i] = 1;
  EXPECT_EQ(tokens->labelled, labelled);
}

TEST_F(Smollm2Test, WeightsEqualThoseOfThePythonReader) {
  // PyPI gguf 0.17+, dequantize(), rows of q and k put back in numpy with
  // reshape(heads, 32, 2, 576).swapaxes(1, 2).
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(Value(q, 1, 5), -0.2984619140625f);
  EXPECT_EQ(Value(q, 33, 7), -0.1319580078125f);
  EXPECT_EQ(Value(q, 64, 100), 0.04620361328125f);
  EXPECT_EQ(Value(q, 575, 575), -0.255859375f);
  const std::string k = "model.layers.29.self_attn.k_proj.weight";
  EXPECT_EQ(Value(k, 31, 1), -0.08270263671875f);
  EXPECT_EQ(Value(k, 32, 2), -0.03167724609375f);
  EXPECT_EQ(Value(k, 100, 3), 0.1737518310546875f);
  EXPECT_EQ(Value("model.embed_tokens.weight", 7042, 5), -0.03307914733886719f);
  // Sums in double differ by the order of addition alone.
  EXPECT_NEAR(Sum("model.embed_tokens.weight", 49152, 576), -15353.04449415207,
              1e-5);
  EXPECT_NEAR(Sum("model.layers.13.mlp.down_proj.weight", 576, 1536),
              115.40028381347656, 1e-7);
  EXPECT_EQ(Sum("model.norm.weight", 1, 576), 1038.33203125);
}

TEST_F(Smollm2Test, ReadsEveryWeight) {
  std::vector<float> out;
  int64_t parameters = 0;
  for (const TensorInfo& tensor : model_->tensors()) {
    const int64_t rows = tensor.shape.size() == 1 ? 1 : tensor.shape[0];
    out.resize(rows * tensor.shape.back());
    ASSERT_TRUE(model_->ReadRows(tensor.name, 0, rows, out).ok());
    parameters += static_cast<int64_t>(out.size());
  }
  EXPECT_EQ(parameters, 134'515'008);
}

}  // namespace
}  // namespace edgetune
