#include "models/io/adapter/adapter_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/hf/safetensors.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig SmallModel() {
  ModelConfig c;
  c.architecture = "llama";
  c.hidden = 16, c.ffn = 24, c.layers = 2, c.heads = 4, c.kv_heads = 2;
  c.head_dim = 4, c.vocab = 10, c.context = 32;
  return c;
}

Adapter MakeAdapter(std::vector<std::string> targets, double alpha = 6) {
  Adapter adapter;
  adapter.spec = {3, alpha, std::move(targets)};
  adapter.layout = *AdapterLayoutOf(SmallModel(), adapter.spec);
  Random random(9);
  for (size_t i = 0; i < adapter.layout.size(); ++i) {
    adapter.values.push_back(static_cast<float>(random.Normal()));
  }
  return adapter;
}

class AdapterFileTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return directory_.File(name);
  }
  std::string WrittenPeft() {
    EXPECT_TRUE(WritePeftAdapter(Path("peft"), MakeAdapter({"q_proj"}), "base",
                                 {{"round", "3"}})
                    .ok());
    return Path("peft");
  }
  void ExpectRefused(const std::string& path, const std::string& message) {
    const auto adapter = ReadAdapter(path, SmallModel());
    ASSERT_FALSE(adapter.ok()) << "wanted: " << message;
    EXPECT_THAT(std::string(adapter.status().message()), HasSubstr(message));
    EXPECT_EQ(KindOf(adapter.status()), ErrorKind::kModel);
  }

  const testing::ScratchDirectory directory_;
};

TEST(AdapterLayoutTest, GoesLayerByLayerInTheFixedOrderOfTargets) {
  const auto layout =
      AdapterLayoutOf(SmallModel(), {2, 4, {"down_proj", "k_proj"}});
  ASSERT_TRUE(layout.ok());
  std::vector<std::string> names;
  for (const auto& tensor : layout->tensors()) names.push_back(tensor.name);
  EXPECT_THAT(std::span(names).first(5),
              ElementsAre("layers.0.self_attn.k_proj.lora_A",
                          "layers.0.self_attn.k_proj.lora_B",
                          "layers.0.mlp.down_proj.lora_A",
                          "layers.0.mlp.down_proj.lora_B",
                          "layers.1.self_attn.k_proj.lora_A"));
  EXPECT_THAT(layout->tensors()[1].shape, ElementsAre(8, 2));
  EXPECT_THAT(layout->tensors()[2].shape, ElementsAre(2, 24));
}

TEST(AdapterLayoutTest, CountsTheParametersOfSmolLm2) {
  // Formats design, section 6.
  ModelConfig c;
  c.hidden = 576, c.ffn = 1536, c.layers = 30, c.heads = 9, c.kv_heads = 3;
  c.head_dim = 64;
  const auto size = [&](std::vector<std::string> targets) {
    return AdapterLayoutOf(c, {8, 16, std::move(targets)})->size();
  };
  EXPECT_EQ(size({"q_proj", "v_proj"}), 460'800u);
  EXPECT_EQ(size({"q_proj", "k_proj", "v_proj", "o_proj"}), 921'600u);
  EXPECT_EQ(size({LoraTargets().begin(), LoraTargets().end()}), 2'442'240u);
}

TEST(AdapterLayoutTest, RefusesBadSpecifications) {
  const double nan = std::nan("");
  const AdapterSpec bad[] = {
      {0, 1, {"q_proj"}},  {17, 1, {"q_proj"}},          {9, 1, {"v_proj"}},
      {2, 0, {"q_proj"}},  {2, nan, {"q_proj"}},         {2, 1, {}},
      {2, 1, {"lm_head"}}, {2, 1, {"q_proj", "q_proj"}}, {2, -1, {"q_proj"}}};
  for (const AdapterSpec& spec : bad) {
    EXPECT_EQ(AdapterLayoutOf(SmallModel(), spec).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(InitialAdapterTest, AIsUniformInItsBoundAndBIsZero) {
  const auto layout = *AdapterLayoutOf(SmallModel(), {4, 4, {"q_proj"}});
  const auto values = InitialAdapter(layout, 5);
  EXPECT_EQ(values, InitialAdapter(layout, 5));
  EXPECT_NE(values, InitialAdapter(layout, 6));
  float largest = 0;
  for (const auto& tensor : layout.tensors()) {
    for (size_t i = 0; i < tensor.count; ++i) {
      const float x = values[tensor.offset + i];
      if (tensor.name.ends_with("lora_B")) {
        EXPECT_EQ(x, 0);
      }
      largest = std::max(largest, std::fabs(x));
    }
  }
  EXPECT_LE(largest, 0.25f);  // 1 / sqrt(16)
  EXPECT_GT(largest, 0.2f);
}

TEST_F(AdapterFileTest, BothFormsComeBackBitForBit) {
  const Adapter adapter =
      MakeAdapter({LoraTargets().begin(), LoraTargets().end()}, 4.5);
  ASSERT_TRUE(WritePeftAdapter(Path("p"), adapter, "base", {}).ok());
  ASSERT_TRUE(
      WriteGgufAdapter(Path("g.gguf"), adapter, SmallModel(), "base").ok());
  for (const std::string& path : {Path("p"), Path("p/"), Path("g.gguf")}) {
    const auto back = ReadAdapter(path, SmallModel());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->values, adapter.values);
    EXPECT_EQ(back->layout, adapter.layout);
    EXPECT_EQ(back->spec.rank, 3);
    EXPECT_EQ(back->spec.alpha, 4.5);
    EXPECT_EQ(back->spec.targets, adapter.spec.targets);
  }
}

TEST_F(AdapterFileTest, PeftKeysAreExactlyPefts) {
  const auto file =
      *SafetensorsFile::Open(WrittenPeft() + "/adapter_model.safetensors");
  EXPECT_EQ(file->tensors()[0].name,
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_THAT(file->tensors()[0].shape, ElementsAre(3, 16));
  EXPECT_EQ(file->tensors()[3].name,
            "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight");
  EXPECT_EQ(*ReadFile(Path("peft/edgetune_provenance.json")),
            "{\n  \"round\": \"3\"\n}\n");
  EXPECT_THAT(*ReadFile(Path("peft/README.md")), HasSubstr("round: 3"));
}

TEST_F(AdapterFileTest, GgufPermutesRowsOfBOfQueryAndKeyOnly) {
  const Adapter adapter = MakeAdapter({"q_proj", "v_proj"});
  ASSERT_TRUE(
      WriteGgufAdapter(Path("g.gguf"), adapter, SmallModel(), "b").ok());
  const auto file = *GgufFile::Open(Path("g.gguf"));
  auto value = [&](const char* name, int64_t row) {
    const GgufTensor* tensor = file->FindTensor(name);
    float out;
    std::memcpy(&out, tensor->data.data() + row * tensor->shape[1] * 4, 4);
    return out;
  };
  const auto& t = adapter.layout.tensors();
  // Heads of 4: rows 0 2 1 3 of each head, by hand; r = 3.
  EXPECT_EQ(value("blk.0.attn_q.weight.lora_b", 5),
            adapter.values[t[1].offset + 6 * 3]);
  EXPECT_EQ(value("blk.0.attn_q.weight.lora_a", 1),
            adapter.values[t[0].offset + 16]);
  EXPECT_EQ(value("blk.0.attn_v.weight.lora_b", 5),
            adapter.values[t[3].offset + 5 * 3]);
  EXPECT_EQ(*file->Number("adapter.lora.alpha"), 6);
  EXPECT_EQ(*file->String("general.type"), "adapter");
}

TEST_F(AdapterFileTest, AbsentAlphaMeansScaleOne) {
  GgufWriter writer;
  writer.Set("general.architecture", "llama");
  writer.Set("general.type", "adapter");
  writer.Set("adapter.type", "lora");
  for (int layer : {0, 1}) {
    const std::string name = "blk." + std::to_string(layer) + ".ffn_up.weight.";
    writer.AddTensor(name + "lora_a", {2, 16}, std::vector<float>(32));
    writer.AddTensor(name + "lora_b", {24, 2}, std::vector<float>(48));
  }
  ASSERT_TRUE(writer.Write(Path("g.gguf")).ok());
  const auto adapter = ReadAdapter(Path("g.gguf"), SmallModel());
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->spec.alpha, 2);
  EXPECT_THAT(adapter->spec.targets, ElementsAre("up_proj"));
  writer.AddTensor("blk.1.attn_q.weight.lora_a", {2, 16},
                   std::vector<float>(32));
  ASSERT_TRUE(writer.Write(Path("g.gguf")).ok());
  ExpectRefused(Path("g.gguf"), "is missing");
}

TEST_F(AdapterFileTest, DirectoryAppearsWholeOrNotAtAll) {
  const std::string path = WrittenPeft();
  const auto again =
      WritePeftAdapter(path, MakeAdapter({"q_proj"}), "base", {});
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(
      WritePeftAdapter(Path("no/dir"), MakeAdapter({"q_proj"}), "b", {}).code(),
      absl::StatusCode::kNotFound);
  size_t entries = 0;
  for ([[maybe_unused]] auto& e :
       std::filesystem::directory_iterator(directory_.path())) {
    ++entries;
  }
  EXPECT_EQ(entries, 1u);
}

TEST_F(AdapterFileTest, RefusesConfigurationsItWouldMisread) {
  const std::string config = WrittenPeft() + "/adapter_config.json";
  const std::string good = *ReadFile(config);
  auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    EXPECT_TRUE(WriteFileAtomically(config, text).ok());
    return Path("peft");
  };
  ExpectRefused(with("\"use_dora\": false", "\"use_dora\": true"), "use_dora");
  ExpectRefused(
      with("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]"),
      "modules_to_save");
  ExpectRefused(with("\"use_dora\": false", "\"lora_bias\": true"),
                "lora_bias");
  ExpectRefused(with("\"bias\": \"none\"", "\"bias\": \"all\""), "biases");
  ExpectRefused(
      with("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 2}"),
      "shape");
  ExpectRefused(
      with("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 0}"),
      "positive");
  ExpectRefused(
      with("\"rank_pattern\": {}", "\"rank_pattern\": {\"(a+)+q_proj\": 2}"),
      "regular expression");
  ExpectRefused(
      with("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"q_proj\": \"8\"}"),
      "alpha_pattern");
  ExpectRefused(
      with("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\""),
      "pissa");
  ExpectRefused(with("\"LORA\"", "\"IA3\""), "LORA");
  ExpectRefused(with("\"r\": 3", "\"r\": 2"), "shape");
  ExpectRefused(with("\"r\": 3", "\"r\": -3"), "positive");
  ExpectRefused(with("\"q_proj\"", "\"k_proj\""), "lists target_modules");
  ExpectRefused(with("\"r\": 3", "\"r\": 3, \"r\": 3"), "twice");
  ExpectRefused(with("{", ""), "not JSON");
}

TEST_F(AdapterFileTest, ReadsTheScaleOfRsLora) {
  const std::string config = WrittenPeft() + "/adapter_config.json";
  std::string text = *ReadFile(config);
  const std::string off = "\"use_rslora\": false";
  text.replace(text.find(off), off.size(), "\"use_rslora\": true");
  ASSERT_TRUE(WriteFileAtomically(config, text).ok());
  // alpha / sqrt(r) = alpha' / r.
  EXPECT_DOUBLE_EQ(ReadAdapter(Path("peft"), SmallModel())->spec.alpha,
                   6 * std::sqrt(3.0));
}

// Ranks 3, 5 and 2, alphas 6 and 9.
Adapter MixedAdapter(double other_alpha) {
  Adapter adapter;
  adapter.spec = {3, 6, {"q_proj", "v_proj", "down_proj"}};
  adapter.spec.exceptions["layers.0.self_attn.q_proj"] = {5, other_alpha};
  adapter.spec.exceptions["layers.1.mlp.down_proj"] = {2, 6};
  adapter.layout = *AdapterLayoutOf(SmallModel(), adapter.spec);
  Random random(11);
  for (size_t i = 0; i < adapter.layout.size(); ++i) {
    adapter.values.push_back(static_cast<float>(random.Normal()));
  }
  return adapter;
}

TEST_F(AdapterFileTest, MixedRanksComeBackBitForBit) {
  const Adapter adapter = MixedAdapter(6);
  ASSERT_TRUE(WritePeftAdapter(Path("p"), adapter, "base", {}).ok());
  ASSERT_TRUE(WriteGgufAdapter(Path("g"), adapter, SmallModel(), "b").ok());
  for (const std::string& path : {Path("p"), Path("g")}) {
    const auto back = ReadAdapter(path, SmallModel());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->values, adapter.values);
    EXPECT_EQ(back->layout, adapter.layout);
    EXPECT_EQ(back->spec.exceptions, adapter.spec.exceptions);
  }
}

// A GGUF has one alpha: B takes the rest, here 12 / 6.
TEST_F(AdapterFileTest, AnotherAlphaIsMultipliedIntoBOfAGguf) {
  const Adapter adapter = MixedAdapter(12);
  ASSERT_TRUE(WriteGgufAdapter(Path("g"), adapter, SmallModel(), "b").ok());
  ASSERT_TRUE(WritePeftAdapter(Path("p"), adapter, "base", {}).ok());
  EXPECT_EQ(ReadAdapter(Path("p"), SmallModel())->spec.exceptions,
            adapter.spec.exceptions);
  const auto back = ReadAdapter(Path("g"), SmallModel());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->spec.Of("layers.0.self_attn.q_proj").alpha, 6);
  const auto& a = adapter.layout.tensors()[0];
  const auto& b = adapter.layout.tensors()[1];
  EXPECT_EQ(back->values[a.offset], adapter.values[a.offset]);
  EXPECT_EQ(back->values[b.offset], 2 * adapter.values[b.offset]);
}

// As peft.utils.other.get_pattern_key matches them, the first that does.
TEST_F(AdapterFileTest, PatternsMatchAsInPeft) {
  const Adapter adapter = MixedAdapter(6);
  ASSERT_TRUE(WritePeftAdapter(Path("p"), adapter, "base", {}).ok());
  const std::string config = Path("p") + "/adapter_config.json";
  const std::string good = *ReadFile(config);
  const size_t from = good.find("\"rank_pattern\""),
               to = good.find("\"alpha_pattern\"");
  const auto with = [&](const std::string& patterns) {
    EXPECT_TRUE(WriteFileAtomically(
                    config, good.substr(0, from) + "\"rank_pattern\": {" +
                                patterns + "}, " + good.substr(to))
                    .ok());
    return ReadAdapter(Path("p"), SmallModel()).ok();
  };
  const std::string down = ", \"layers.1.mlp.down_proj\": 2";
  EXPECT_TRUE(with("\"0.self_attn.q_proj\": 5" + down));
  EXPECT_TRUE(with("\"^model.layers.0.self_attn.q_proj\": 5" + down));
  EXPECT_TRUE(
      with("\"model\\\\.layers\\\\.0\\\\.self_attn\\\\.q_proj\": 5" + down));
  EXPECT_TRUE(with("\"layers.0.self_attn.q_proj\": 5, \"q_proj\": 3" + down));
  // The second would match layer 0, but the first did.
  EXPECT_FALSE(with("\"q_proj\": 3, \"layers.0.self_attn.q_proj\": 5" + down));
  EXPECT_FALSE(with("\"^layers.0.self_attn.q_proj\": 5" + down));
  EXPECT_FALSE(with("\"ers.0.self_attn.q_proj\": 5" + down));
  EXPECT_FALSE(with("\"layers.0.self_attn.q_pro\": 5" + down));
}

TEST(AdapterLayoutTest, RefusesExceptionsThatCannotBe) {
  for (const auto& [module, lora] : std::map<std::string, LoraShape>{
           {"layers.0.self_attn.q_proj", {0, 1}},
           {"layers.0.self_attn.q_proj ", {2, 1}},
           {"layers.2.self_attn.q_proj", {2, 1}},
           {"layers.0.self_attn.k_proj", {2, 1}},
           {"layers.1.self_attn.q_proj", {2, 0}},
           {"layers.1.self_attn.q_proj.", {2, 1}}}) {
    AdapterSpec spec = {2, 4, {"q_proj"}};
    spec.exceptions[module] = lora;
    EXPECT_FALSE(AdapterLayoutOf(SmallModel(), spec).ok()) << module;
  }
}

TEST_F(AdapterFileTest, RefusesWrongNamesShapesAndValues) {
  const std::string weights = WrittenPeft() + "/adapter_model.safetensors";
  const std::string good = *ReadFile(weights);
  auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    for (size_t at; (at = text.find(from)) != text.npos;) {
      text.replace(at, from.size(), to);
    }
    EXPECT_TRUE(WriteFileAtomically(weights, text).ok());
    return Path("peft");
  };
  // One "model." lost: PEFT would load nothing and say nothing.
  ExpectRefused(with("base_model.model.model.", "base_model.xodel.model."),
                "is not named");
  ExpectRefused(with("layers.1.", "layers.7."), "layers.1.");
  ExpectRefused(with("q_proj", "v_proj"), "target_modules");
  std::string nan = good;
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(nan.data() + nan.size() - 4, &bad, 4);
  ASSERT_TRUE(WriteFileAtomically(weights, nan).ok());
  ExpectRefused(Path("peft"), "not finite");
  ModelConfig other = SmallModel();
  ASSERT_TRUE(WriteFileAtomically(weights, good).ok());
  other.layers = 1;
  EXPECT_THAT(std::string(ReadAdapter(Path("peft"), other).status().message()),
              HasSubstr("does not belong"));
}

TEST_F(AdapterFileTest, NeverReadsAPickle) {
  const std::string path = WrittenPeft();
  std::filesystem::rename(path + "/adapter_model.safetensors",
                          path + "/adapter_model.bin");
  ExpectRefused(path, "pickle");
  ExpectRefused(Path("none"), "none");
}

TEST_F(AdapterFileTest, RefusesGgufFilesOfAnotherKind) {
  const Adapter adapter = MakeAdapter({"q_proj"});
  ModelConfig model = SmallModel();
  model.architecture = "qwen2";
  ASSERT_TRUE(WriteGgufAdapter(Path("g"), adapter, model, "b").ok());
  ExpectRefused(Path("g"), "'qwen2'");
  GgufWriter writer;
  writer.Set("general.architecture", "llama");
  writer.Set("general.type", "model");
  ASSERT_TRUE(writer.Write(Path("m")).ok());
  ExpectRefused(Path("m"), "wanted 'adapter'");
  writer.Set("general.type", "adapter");
  writer.Set("adapter.type", "lora");
  writer.AddTensor("token_embd.weight.lora_a", {2, 16}, std::vector<float>(32));
  ASSERT_TRUE(writer.Write(Path("e")).ok());
  ExpectRefused(Path("e"), "token_embd");
}

}  // namespace
}  // namespace edgetune
