#include "models/io/tokenizer/hf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "models/io/tokenizer/byte_alphabet.h"
#include "models/io/tokenizer/hf_tokenizer_parser.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TokenizerData Data() {
  TokenizerData data;
  data.pre = "smollm";
  data.tokens = {"<|im_start|>", "a", "b", "ab", "Ġ", "<tool>"};
  data.types = {3, 1, 1, 1, 1, 4};
  data.merges = {"a b"};
  data.bos = data.eos = data.unknown = data.padding = 0;
  return data;
}

std::map<std::string, std::string> Files(const TokenizerData& data) {
  return HfTokenizerFiles(data, "{{ template }}").value();
}

absl::StatusOr<TokenizerData> Parse(const json& tokenizer,
                                    const json& config = json::object(),
                                    const json& model = json::object()) {
  return ParseHfTokenizer(tokenizer.dump(), {config.dump(), model.dump(), ""});
}

json Written() { return json::parse(Files(Data()).at("tokenizer.json")); }

void ExpectEqual(const TokenizerData& a, const TokenizerData& b) {
  EXPECT_EQ(a.pre, b.pre);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.types, b.types);
  EXPECT_EQ(a.merges, b.merges);
  EXPECT_THAT((std::vector{a.bos, a.eos, a.unknown, a.padding}),
              ElementsAre(b.bos, b.eos, b.unknown, b.padding));
  EXPECT_EQ(a.add_bos, b.add_bos);
  EXPECT_EQ(a.ignore_merges, b.ignore_merges);
  EXPECT_EQ(a.nfc, b.nfc);
  EXPECT_EQ(a.after_normalizing, b.after_normalizing);
}

TEST(HfTokenizerTest, ReadsWhatItWrote) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    TokenizerData data = Data();
    data.pre = pre;
    data.add_bos = data.ignore_merges = data.pre == "llama-bpe";
    data.nfc = data.pre == "qwen2";
    data.after_normalizing = {5};
    const testing::ScratchDirectory directory;
    for (const auto& [name, bytes] : Files(data)) {
      std::ofstream(directory.File(name)) << bytes;
    }
    const auto read = ReadHfTokenizer(directory.path());
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectEqual(*read, data);
  }
}

TEST(HfTokenizerTest, TakesMergesAsPairsAndFilesWithoutAModelType) {
  json tokenizer = Written();
  tokenizer["model"]["merges"] = json::array({json::array({"a", "b"})});
  tokenizer["model"].erase("type");
  const auto data = Parse(tokenizer);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->merges, ElementsAre("a b"));
}

TEST(HfTokenizerTest, PutsAddedTokensBehindTheVocabulary) {
  json tokenizer = Written();
  json added = tokenizer["added_tokens"][1];
  added["id"] = 6;
  added["content"] = "<more>";
  tokenizer["added_tokens"].push_back(added);
  const auto data = Parse(tokenizer);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->tokens.back(), "<more>");
  EXPECT_EQ(data->types.back(), 4);
}

TEST(HfTokenizerTest, ObeysALostDigitsStage) {
  json tokenizer = Written();
  json& stages = tokenizer["pre_tokenizer"];
  stages = json(stages["pretokenizers"][1]);
  EXPECT_EQ(Parse(tokenizer)->pre, "gpt-2");
}

TEST(HfTokenizerTest, KnowsTheExpressionWithLineBreaksAsThemselves) {
  TokenizerData data = Data();
  data.pre = "qwen2";
  json tokenizer = json::parse(Files(data).at("tokenizer.json"));
  json& split = tokenizer["pre_tokenizer"]["pretokenizers"][0];
  std::string regex = split["pattern"]["Regex"];
  for (size_t at; (at = regex.find("\\r\\n")) != regex.npos;) {
    regex.replace(at, 4, "\r\n");
  }
  split["pattern"]["Regex"] = regex;
  split["behavior"] = "Removed";
  split["invert"] = true;
  EXPECT_EQ(Parse(tokenizer)->pre, "qwen2");
}

TEST(HfTokenizerTest, TakesSpecialIdsFromWhereTheyAreGiven) {
  const json config = {{"eos_token", {{"content", "<|im_start|>"}}},
                       {"bos_token", nullptr}};
  const json model = {
      {"bos_token_id", 4}, {"eos_token_id", {3, 4}}, {"pad_token_id", -1}};
  const auto data = Parse(Written(), config, model);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->eos, 0);  // the tokenizer's own comes first
  EXPECT_EQ(data->bos, 4);
  EXPECT_EQ(data->padding, -1);
}

TEST(HfTokenizerTest, TakesAMaximalLengthAboveAnyInteger) {
  const auto data = ParseHfTokenizer(
      Written().dump(),
      {R"({"model_max_length": 1000000000000000019884624838656})", "", ""});
  EXPECT_TRUE(data.ok()) << data.status();
}

void ExpectRefused(const absl::StatusOr<TokenizerData>& data,
                   const std::string& message,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  ASSERT_FALSE(data.ok()) << "wanted: " << message;
  EXPECT_EQ(data.status().code(), code) << data.status();
  EXPECT_THAT(std::string(data.status().message()), HasSubstr(message));
}

// tokenizer.json with the value at a JSON pointer replaced.
absl::StatusOr<TokenizerData> With(const char* place, const json& value) {
  json tokenizer = Written();
  tokenizer[json::json_pointer(place)] = value;
  return Parse(tokenizer);
}

TEST(HfTokenizerTest, RefusesOtherModelsByName) {
  ExpectRefused(With("/model/type", "WordPiece"), "'WordPiece'");
  json unigram = Written();
  unigram["model"] = {{"type", "Unigram"},
                      {"vocab", json::array({json::array({"a", -1.5})})}};
  ExpectRefused(Parse(unigram), "'Unigram'");
  ExpectRefused(With("/model", nullptr), "no model");
  ExpectRefused(With("/model/vocab", json::object()), "vocabulary is empty");
}

TEST(HfTokenizerTest, RefusesWhatWouldChangeIds) {
  ExpectRefused(With("/model/dropout", 0.1), "dropout '0.1'");
  ExpectRefused(With("/model/unk_token", "a"), "unk_token 'a'");
  ExpectRefused(With("/model/byte_fallback", true), "byte_fallback");
  ExpectRefused(With("/model/end_of_word_suffix", "</w>"), "'</w>'");
  ExpectRefused(With("/added_tokens/0/lstrip", true), "with lstrip");
  ExpectRefused(With("/added_tokens/0/rstrip", true), "with rstrip");
  ExpectRefused(With("/added_tokens/0/single_word", true), "with single_word");
  ExpectRefused(With("/model/merges", {"a b", "a b"}), "'a b' comes twice");
}

TEST(HfTokenizerTest, TakesAnUnknownTokenThatCannotCome) {
  TokenizerData data = Data();
  data.merges.clear();
  data.tokens.clear();
  for (int byte = 0; byte < 256; ++byte) {
    data.tokens.push_back(kByteAlphabet.Utf8Of(static_cast<uint8_t>(byte)));
  }
  data.types.assign(256, 1);
  data.types[0] = 3;
  json tokenizer = json::parse(Files(data).at("tokenizer.json"));
  tokenizer["model"]["unk_token"] = "a";
  tokenizer["model"]["byte_fallback"] = true;
  EXPECT_TRUE(Parse(tokenizer).ok());
}

TEST(HfTokenizerTest, RefusesStagesByName) {
  const char* second = "/pre_tokenizer/pretokenizers/1";
  ExpectRefused(With("/pre_tokenizer", nullptr), "pre_tokenizer 'null'");
  ExpectRefused(With("/pre_tokenizer", {{"type", "Metaspace"}}), "Metaspace");
  ExpectRefused(With("/pre_tokenizer/pretokenizers/0/individual_digits", false),
                "individual_digits");
  ExpectRefused(With(second, {{"type", "Whitespace"}}), "Whitespace");
  ExpectRefused(With(second, {{"type", "ByteLevel"}}), "add_prefix_space");
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", "\\d+"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  ExpectRefused(With("/pre_tokenizer/pretokenizers/0", split), "d+");
  ExpectRefused(With("/normalizer", {{"type", "Lowercase"}}), "Lowercase");
  ExpectRefused(With("/decoder", {{"type", "WordPiece"}}), "WordPiece");
  ExpectRefused(With("/post_processor", {{"type", "BertProcessing"}}),
                "BertProcessing");
  const json end = {{"type", "TemplateProcessing"},
                    {"single",
                     {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                      {{"SpecialToken", {{"id", "b"}, {"type_id", 0}}}}}}};
  ExpectRefused(With("/post_processor", end), "SpecialToken");
}

TEST(HfTokenizerTest, RefusesALateTokenThatIsNotNormalised) {
  json tokenizer = Written();
  tokenizer["normalizer"] = {{"type", "NFC"}};
  tokenizer["added_tokens"][1]["normalized"] = true;
  EXPECT_TRUE(Parse(tokenizer).ok());
  tokenizer["model"]["vocab"].erase("<tool>");
  tokenizer["added_tokens"][1]["content"] = "e\xCC\x81";
  ExpectRefused(Parse(tokenizer), "is not NFC");
}

TEST(HfTokenizerTest, RefusesIdsThatMakeNoVocabulary) {
  ExpectRefused(With("/model/vocab/a", 2), "id 2 belongs to 'a' and 'b'");
  ExpectRefused(With("/model/vocab/a", 2000000000), "id 2000000000");
  ExpectRefused(With("/model/vocab/a", -1), "token 'a' has id '-1'");
  ExpectRefused(With("/model/vocab/a", 7), "no token has the id 1");
  ExpectRefused(With("/added_tokens/0/content", "b"), "id 0 belongs to");
  ExpectRefused(With("/added_tokens/0/content", ""), "added token ''");
  ExpectRefused(With("/model/merges/0", "ab"), "merge 0");
  ExpectRefused(With("/model/merges/0", {"a b", "c"}), "merge 0");
}

TEST(HfTokenizerTest, RefusesAConfigurationThatContradictsTheTokenizer) {
  const json good = Written();
  ExpectRefused(Parse(good, {{"add_bos_token", true}}), "does not put");
  ExpectRefused(Parse(good, {{"add_eos_token", true}}), "add_eos_token");
  ExpectRefused(Parse(good, {{"add_prefix_space", true}}), "add_prefix_space");
  ExpectRefused(Parse(good, {{"pad_token", "[PAD]"}}), "pad_token '[PAD]'");
  ExpectRefused(Parse(good, {{"eos_token", "a"}}), "eos_token 'a'");
  const json other = {{"content", "<tool>"}, {"special", true}};
  ExpectRefused(Parse(good, {{"added_tokens_decoder", {{"5", other}}}}),
                "added_tokens_decoder");
  ExpectRefused(Parse(good, {{"extra_special_tokens", {"<image>"}}}),
                "'<image>'");
  ExpectRefused(Parse(good, {}, {{"eos_token_id", 6}}), "eos_token_id is '6'");
}

TEST(HfTokenizerTest, RefusesDamagedFilesAsDamaged) {
  std::string text = Written().dump();
  ExpectRefused(ParseHfTokenizer(text.substr(0, 300), {}), "not JSON",
                absl::StatusCode::kDataLoss);
  text.insert(1, R"("model": 1, )");
  ExpectRefused(ParseHfTokenizer(text, {}), "'model' appears twice",
                absl::StatusCode::kDataLoss);
}

TEST(HfTokenizerTest, SaysWhichFileIsMissing) {
  const testing::ScratchDirectory directory;
  auto status = ReadHfTokenizer(directory.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(KindOf(status), ErrorKind::kModel);
  EXPECT_THAT(HintOf(status), HasSubstr("tokenizer.json"));
  std::ofstream(directory.File("tokenizer.model")) << "x";
  status = ReadHfTokenizer(directory.path()).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("sentencepiece"));
}

TEST(HfTokenizerTest, WritesNothingItCannotMean) {
  TokenizerData data = Data();
  data.pre = "tekken";
  EXPECT_EQ(HfTokenizerFiles(data, "").status().code(),
            absl::StatusCode::kInvalidArgument);
  data = Data();
  data.eos = 6;
  EXPECT_FALSE(HfTokenizerFiles(data, "").ok());
  data = Data();
  data.tokens[1] = "\xFF";
  EXPECT_FALSE(HfTokenizerFiles(data, "").ok());
}

TEST(HfTokenizerTest, NamesNoNormalTokenAsSpecial) {
  TokenizerData data = Data();
  data.eos = 1;
  const json config = json::parse(Files(data).at("tokenizer_config.json"));
  EXPECT_EQ(config["bos_token"], "<|im_start|>");
  EXPECT_FALSE(config.contains("eos_token"));
  EXPECT_EQ(config["chat_template"], "{{ template }}");
}

}  // namespace
}  // namespace edgetune
