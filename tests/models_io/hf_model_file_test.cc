// Hugging Face directories, good and bad.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/hf/safetensors.h"
#include "models/io/model_file.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class HfModelFileTest : public ::testing::Test {
 protected:
  static std::string Written(const std::string& directory) {
    EXPECT_TRUE(testing::WriteTinyHfModel(directory).ok());
    return directory;
  }
  std::string File(const std::string& name) const {
    return directory_ + "/" + name;
  }
  json ReadJson(const std::string& name) const {
    return json::parse(*ReadFile(File(name)));
  }
  void WriteText(const std::string& name, const std::string& text) const {
    std::ofstream(File(name), std::ios::binary) << text;
  }
  // config.json with one value changed; null removes it.
  void Change(const std::string& key, const json& value) const {
    json config = json::parse(config_);
    value.is_null() ? void(config.erase(key)) : void(config[key] = value);
    WriteText("config.json", config.dump());
  }
  void ExpectRefused(const std::string& message) const {
    const auto model = ModelFile::Open(directory_);
    ASSERT_FALSE(model.ok()) << "wanted: " << message;
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
    EXPECT_EQ(KindOf(model.status()), ErrorKind::kModel);
    EXPECT_FALSE(HintOf(model.status()).empty());
  }

  // model.safetensors as two files and an index.
  void Shard() const {
    const auto file = *SafetensorsFile::Open(File("model.safetensors"));
    const std::span<const SafeTensor> all = file->tensors();
    const size_t half = all.size() / 2;
    json map;
    for (size_t i = 0; i < all.size(); ++i) {
      map[all[i].name] = i < half ? kFirst : kSecond;
    }
    WriteText(kFirst, *SerialiseSafetensors(all.first(half)));
    WriteText(kSecond, *SerialiseSafetensors(all.subspan(half)));
    WriteText(kIndex, json{{"weight_map", map}}.dump());
    fs::remove(File("model.safetensors"));
  }
  // The index with tensor `name` in file `file`.
  void PointTo(const std::string& name, const std::string& file) const {
    json index = ReadJson(kIndex);
    index["weight_map"][name] = file;
    WriteText(kIndex, index.dump());
  }

  static constexpr char kFirst[] = "model-00001-of-00002.safetensors";
  static constexpr char kSecond[] = "model-00002-of-00002.safetensors";
  static constexpr char kIndex[] = "model.safetensors.index.json";
  static constexpr char kNorm[] = "model.norm.weight";

  const testing::ScratchDirectory scratch_;
  const std::string directory_ = Written(scratch_.File("tiny"));
  const std::string config_ = *ReadFile(directory_ + "/config.json");
};

TEST_F(HfModelFileTest, ReadsTheConfiguration) {
  const auto model = ModelFile::Open(directory_ + "/");
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& c = (*model)->config();
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.name, "tiny");
  EXPECT_THAT(
      (std::vector<int64_t>{c.hidden, c.ffn, c.layers, c.heads, c.kv_heads,
                            c.head_dim, c.vocab, c.context}),
      ElementsAre(64, 96, 2, 4, 2, 16, 300, 256));
  EXPECT_EQ(c.rms_eps, 1e-5);
  EXPECT_EQ(c.rope_theta, 10000);
  EXPECT_TRUE(c.tied);
  EXPECT_THAT(c.end_tokens, ElementsAre(2));
  EXPECT_EQ((*model)->tokenizer().eos(), 2);
  EXPECT_EQ((*model)->chat_template().default_system(),
            testing::kTinyDefaultSystem);
}

TEST_F(HfModelFileTest, AbsentKeysHaveTheirDefaults) {
  for (const char* key :
       {"head_dim", "rope_theta", "architectures", "hidden_act"}) {
    Change(key, nullptr);
    const auto model = ModelFile::Open(directory_);
    ASSERT_TRUE(model.ok()) << key << model.status();
    EXPECT_EQ((*model)->config().head_dim, 16);
    EXPECT_EQ((*model)->config().rope_theta, 10000);
  }
  Change("num_key_value_heads", nullptr);  // then as many as there are heads
  ExpectRefused("k_proj.weight has shape [32,64], wanted [64,64]");
}

TEST_F(HfModelFileTest, ReadsRopeInBothPlaces) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 32.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  Change("rope_scaling", scaling);
  const auto above = ModelFile::Open(directory_);
  ASSERT_TRUE(above.ok()) << above.status();
  const Llama3RopeScaling wanted = {32, 1, 4, 8192};
  EXPECT_EQ((*above)->config().rope_scaling, wanted);
  json nested = scaling;
  nested["rope_theta"] = 10000.0;
  Change("rope_parameters", nested);
  const auto below = ModelFile::Open(directory_);
  ASSERT_TRUE(below.ok()) << below.status();
  EXPECT_EQ((*below)->config().rope_scaling, wanted);
  json both = json::parse(config_);
  both["rope_parameters"] = nested;
  both["rope_scaling"] = {{"rope_type", "default"}};
  WriteText("config.json", both.dump());
  ExpectRefused("what rope_parameters says");
}

TEST_F(HfModelFileTest, EndTokensMayBeAList) {
  Change("eos_token_id", {0, 2, 1});
  const auto model = ModelFile::Open(directory_);
  ASSERT_TRUE(model.ok()) << model.status();
  // The tokenizer's own comes first.
  EXPECT_THAT((*model)->config().end_tokens, ElementsAre(2, 0, 1));
  Change("eos_token_id", {0, 300});
  ExpectRefused("eos_token_id");
}

TEST_F(HfModelFileTest, RefusesByNameWhatItDoesNotKnow) {
  const std::tuple<const char*, json, const char*> cases[] = {
      {"model_type", "mistral", "\"mistral\""},
      {"model_type", nullptr, "model_type"},
      {"architectures", {"LlamaForSequenceClassification"}, "Classification"},
      {"hidden_act", "gelu", "\"gelu\""},
      {"attention_bias", true, "attention_bias"},
      {"mlp_bias", true, "mlp_bias"},
      {"quantization_config", {{"bits", 4}}, "quantization_config"},
      {"use_sliding_window", true, "use_sliding_window"},
      {"rope_interleaved", true, "rope_interleaved"},
      {"layer_types", {"sliding_attention"}, "sliding_attention"},
      {"partial_rotary_factor", 0.5, "partial_rotary_factor"},
      {"rope_scaling", {{"type", "yarn"}, {"factor", 2.0}}, "\"yarn\""},
      {"rope_scaling", {{"rope_type", "default"}, {"factor", 2.0}}, "factor"},
      {"rope_scaling", {{"rope_type", "llama3"}}, "factor"},
      {"rope_parameters", {{"full_attention", {{"a", 1}}}}, "full_attention"},
      {"rope_parameters", {{"rope_theta", 5.0}}, "rope_theta"}};
  for (const auto& [key, value, message] : cases) {
    Change(key, value);
    ExpectRefused(message);
  }
}

TEST_F(HfModelFileTest, RefusesImpossibleSizes) {
  const std::tuple<const char*, json, const char*> cases[] = {
      {"hidden_size", nullptr, "hidden_size"},
      {"hidden_size", "64", "hidden_size"},
      {"hidden_size", -64, "hidden_size"},
      {"hidden_size", 64.5, "hidden_size"},
      {"hidden_size", uint64_t{1} << 63, "hidden_size"},
      {"num_attention_heads", 0, "heads"},
      {"num_attention_heads", 5, "grouped"},
      {"num_key_value_heads", 3, "grouped"},
      {"num_hidden_layers", 3, "model.layers.2."},
      {"num_hidden_layers", 1 << 24, "model.layers.2."},
      {"num_hidden_layers", 1, "model.layers.1."},
      {"vocab_size", 299, "300 tokens"},
      {"rms_norm_eps", 0, "rms_norm_eps"},
      {"rope_theta", "x", "rope_theta"},
      {"tie_word_embeddings", false, "lm_head.weight is missing"}};
  for (const auto& [key, value, message] : cases) {
    Change(key, value);
    ExpectRefused(message);
  }
}

TEST_F(HfModelFileTest, RefusesDamagedConfigurations) {
  WriteText("config.json", config_.substr(0, config_.size() / 2));
  ExpectRefused("not JSON");
  WriteText("config.json", "{\"vocab_size\":1," + config_.substr(1));
  ExpectRefused("appears twice");
  WriteText("config.json", "[]");
  ExpectRefused("config.json");
  fs::remove(File("config.json"));
  ExpectRefused("no config.json");
  WriteText("adapter_config.json", "{}");
  ExpectRefused("adapter");
}

TEST_F(HfModelFileTest, NeverReadsPickles) {
  fs::rename(File("model.safetensors"), File("pytorch_model.bin"));
  ExpectRefused("pytorch_model.bin is a pickle");
  fs::remove(File("pytorch_model.bin"));
  ExpectRefused("neither model.safetensors nor");
}

TEST_F(HfModelFileTest, ReadsShardsLikeOneFile) {
  const auto whole = std::move(ModelFile::Open(directory_)).value();
  Shard();
  const auto cut = ModelFile::Open(directory_);
  ASSERT_TRUE(cut.ok()) << cut.status();
  for (const TensorInfo& tensor : whole->tensors()) {
    std::vector<float> a(tensor.rows() * tensor.columns()), b(a.size());
    ASSERT_TRUE(whole->ReadRows(tensor.name, 0, tensor.rows(), a).ok());
    ASSERT_TRUE((*cut)->ReadRows(tensor.name, 0, tensor.rows(), b).ok());
    EXPECT_EQ(a, b) << tensor.name;
  }
}

TEST_F(HfModelFileTest, RefusesShardsThatDoNotFitTheirIndex) {
  Shard();
  const std::string index = *ReadFile(File(kIndex));
  for (const char* name :
       {"../tiny/model.safetensors", "/etc/passwd", "a/b.safetensors",
        "..safetensors", "weights.bin", "", "a\nb.safetensors"}) {
    PointTo(kNorm, name);
    ExpectRefused("plain name");
  }
  PointTo(kNorm, "model-00003-of-00003.safetensors");
  ExpectRefused("model-00003-of-00003.safetensors is missing");
  PointTo(kNorm, kFirst);  // it is in the second
  ExpectRefused(kNorm);
  WriteText(kIndex, index);
  PointTo("model.extra", kFirst);
  ExpectRefused("model.extra is not in");
  WriteText(kIndex, "{}");
  ExpectRefused("weight_map");
  WriteText(kIndex, index);
  fs::remove(File(kSecond));
  ExpectRefused(kSecond);
}

TEST_F(HfModelFileTest, RefusesATensorInTwoShards) {
  Shard();
  const auto file = *SafetensorsFile::Open(File(kFirst));
  std::vector<SafeTensor> tensors(file->tensors());
  const auto other = *SafetensorsFile::Open(File(kSecond));
  tensors.push_back(other->tensors()[0]);
  WriteText("again.safetensors", *SerialiseSafetensors(tensors));
  fs::rename(File("again.safetensors"), File(kFirst));
  ExpectRefused(other->tensors()[0].name);
}

// One file with its header replaced.
std::string WithHeader(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

TEST_F(HfModelFileTest, RefusesDamagedWeights) {
  const std::string file = *ReadFile(File("model.safetensors"));
  WriteText("model.safetensors", file.substr(0, file.size() - 1));
  ExpectRefused("model.safetensors");
  WriteText("model.safetensors", file.substr(0, 4));
  ExpectRefused("truncated");
  const uint64_t huge = uint64_t{1} << 63;
  WriteText("model.safetensors",
            std::string(reinterpret_cast<const char*>(&huge), 8) + "{}");
  ExpectRefused("claims 9223372036854775808 bytes");
  const std::string a =
      R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  WriteText("model.safetensors",
            WithHeader("{" + a + "," + a + "}", std::string(4, 0)));
  ExpectRefused("appears twice");
  WriteText("model.safetensors",
            WithHeader("{" + a +
                           R"(,"b":{"dtype":"F32","shape":[1],)"
                           R"("data_offsets":[2,6]}})",
                       std::string(6, 0)));
  ExpectRefused("'b'");
  WriteText("model.safetensors",
            WithHeader(R"({"a":{"dtype":"F32","shape":[9223372036854775808],)"
                       R"("data_offsets":[0,4]}})",
                       std::string(4, 0)));
  ExpectRefused("'a'");
}

TEST_F(HfModelFileTest, RefusesTensorsOfAnotherShapeTypeOrName) {
  const auto file = *SafetensorsFile::Open(File("model.safetensors"));
  const auto with = [&](auto change) {
    std::vector<SafeTensor> tensors(file->tensors());
    change(tensors.back());
    fs::remove(File("model.safetensors"));
    WriteText("model.safetensors", *SerialiseSafetensors(tensors));
  };
  with([](SafeTensor& t) { t.shape = {32, 2}; });
  ExpectRefused("model.norm.weight has shape [32,2], wanted [64]");
  with([](SafeTensor& t) { t.dtype = "I32"; });
  ExpectRefused("model.norm.weight is of dtype I32");
  with([](SafeTensor& t) { t.name = "model.norm.bias"; });
  ExpectRefused("model.norm.weight is missing");
  with([](SafeTensor& t) {
    t.name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  });
  ExpectRefused("model.norm.weight is missing");
}

TEST_F(HfModelFileTest, TakesTheTemplateFromEitherFile) {
  const auto source = [&] {
    return std::move(ModelFile::Open(directory_))
        .value()
        ->chat_template()
        .source();
  };
  WriteText("chat_template.jinja", "first");
  EXPECT_EQ(source(), "first");
  fs::remove(File("chat_template.jinja"));
  json config = ReadJson("tokenizer_config.json");
  config["chat_template"] = {{{"name", "tool_use"}, {"template", "x"}},
                             {{"name", "default"}, {"template", "second"}}};
  WriteText("tokenizer_config.json", config.dump());
  EXPECT_EQ(source(), "second");
}

TEST_F(HfModelFileTest, NamesTheFilesItReads) {
  EXPECT_THAT(*ModelFile::FilesOf(directory_),
              ElementsAre("config.json", "model.safetensors", "tokenizer.json",
                          "tokenizer_config.json"));
  Shard();
  WriteText("chat_template.jinja", "x");
  WriteText("pytorch_model.bin", "x");
  EXPECT_THAT(*ModelFile::FilesOf(directory_),
              ElementsAre("chat_template.jinja", "config.json", kFirst, kSecond,
                          kIndex, "tokenizer.json", "tokenizer_config.json"));
}

}  // namespace
}  // namespace edgetune
