#include "models/io/hf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "models/io/byte_alphabet.h"
#include "models/io/hf_tokenizer_parser.h"
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

}  // namespace
}  // namespace edgetune
