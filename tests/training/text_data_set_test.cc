#include "training/text_data_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr char kDog[] =
    R"({"messages":[{"role":"user","content":"dog"},)"
    R"({"role":"assistant","content":"an animal"}],"topic":"x"})";

class TextDataSetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string model = folder_.File("model.gguf");
    ASSERT_TRUE(testing::WriteTinyModel(model).ok());
    auto file = ModelFile::Open(model);
    ASSERT_TRUE(file.ok()) << file.status();
    model_ = std::move(*file);
  }

  absl::StatusOr<std::unique_ptr<TextDataSet>> Read(const std::string& text) {
    path_ = folder_.File("data_set.jsonl");
    std::ofstream(path_) << text;
    return TextDataSet::Read(path_, *model_, options_);
  }

  std::string Labelled(const LabelledTokens& example) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < example.tokens.size(); ++i) {
      if (example.labelled[i]) ids.push_back(example.tokens[i]);
    }
    return model_->tokenizer().Decode(ids, /*keep_special=*/true);
  }

  void ExpectRefusal(const std::string& text, const std::string& message) {
    const auto data = Read(text);
    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(KindOf(data.status()), ErrorKind::kData);
    EXPECT_THAT(std::string(data.status().message()), HasSubstr(message));
  }

  testing::ScratchDirectory folder_;
  std::unique_ptr<ModelFile> model_;
  std::string path_;
  TextDataOptions options_{.max_length = 100};
};

TEST_F(TextDataSetTest, MessagesAreLabelledOnTheAssistantsTurn) {
  const auto data = Read(std::string(kDog) + "\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().schema, "messages");
  EXPECT_EQ(Labelled((*data)->Get(0)), "an animal<|im_end|>");
}

TEST_F(TextDataSetTest, CompletionsAreLabelledAndEnd) {
  const auto data = Read(R"({"prompt":"one:","completion":"two"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().schema, "prompt");
  EXPECT_EQ(Labelled((*data)->Get(0)), "two<|im_end|>");  // the file's eos
}

TEST_F(TextDataSetTest, AnAssistantInsideThePromptIsNotLabelled) {
  const auto data = Read(
      R"({"prompt":[{"role":"user","content":"a"},)"
      R"({"role":"assistant","content":"b"},{"role":"user","content":"c"}],)"
      R"("completion":[{"role":"assistant","content":"d"}]})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Labelled((*data)->Get(0)), "d<|im_end|>");
}

TEST_F(TextDataSetTest, TextIsLabelledWhole) {
  const auto data = Read(R"({"text":"the sea"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Labelled((*data)->Get(0)), "the sea");
  // The first token has nothing before it to be predicted from.
  EXPECT_EQ((*data)->report().labelled_tokens,
            static_cast<int64_t>((*data)->Get(0).tokens.size()) - 1);
}

TEST_F(TextDataSetTest, BlankLinesAndCarriageReturnsAreNoExamples) {
  const auto data = Read("\n{\"text\":\"abc\"}\r\n  \n{\"text\":\"def\"}\n\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->size(), 2);
}

TEST_F(TextDataSetTest, SpecialTokensInsideContentAreTextAndCounted) {
  const auto data = Read(R"({"text":"a <|im_start|> b"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().specials_in_content, 1);
  const auto& ids = (*data)->Get(0).tokens;
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 0);
}

TEST_F(TextDataSetTest, LongExamplesAreCutAndCounted) {
  options_.max_length = 5;
  const auto data = Read("{\"text\":\"0123456789\"}\n{\"text\":\"012\"}");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().truncated, 1);
  EXPECT_EQ((*data)->Get(0).tokens.size(), 5u);
  EXPECT_EQ((*data)->report().labelled_tokens, 4 + 2);
}

TEST_F(TextDataSetTest, AnExampleWhoseAnswerIsCutAwayIsLeftOut) {
  const auto data =
      Read(std::string(R"({"prompt":")") + std::string(600, '1') +
           "\",\"completion\":\"x\"}\n" + R"({"prompt":"1","completion":"x"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().label_less, 1);
  EXPECT_EQ((*data)->size(), 1);
}

TEST_F(TextDataSetTest, RefusesALengthBeyondTheContext) {
  options_.max_length = 257;
  EXPECT_EQ(KindOf(Read(kDog).status()), ErrorKind::kConfig);
}

TEST_F(TextDataSetTest, NamesTheLineThatIsWrong) {
  const std::string good = "{\"text\":\"abc\"}\n";
  ExpectRefusal(good + "{\"text\":", "data_set.jsonl:2: not valid JSON");
  ExpectRefusal(good + "[1]", ":2: not a JSON object but array");
  ExpectRefusal(good + good + "{\"txt\":\"abc\"}", ":3: has no \"text\"");
  ExpectRefusal("{\"text\":7}", ":1: \"text\" must be a string, got number");
  ExpectRefusal("{\"text\":\"\xff\"}", ":1: not valid JSON");
  ExpectRefusal("{}", ":1: has none of \"messages\"");
}

TEST_F(TextDataSetTest, NamesTheMessageThatIsWrong) {
  ExpectRefusal(R"({"messages":[]})", "a list of messages, not empty");
  ExpectRefusal(R"({"messages":[{"role":"user"}]})",
                "messages[0]: has no \"content\"");
  ExpectRefusal(R"({"messages":[{"role":"robot","content":"x"}]})",
                "messages[0]: role must be");
  ExpectRefusal(R"({"messages":["x"]})", "messages[0]: not an object");
  ExpectRefusal(R"({"prompt":"x"})", "has no \"completion\"");
  ExpectRefusal(R"({"prompt":[{"role":"user","content":"x"}]})",
                "has no \"completion\"");
}

TEST_F(TextDataSetTest, AnErrorNeverQuotesTheExample) {
  const auto data = Read("{\"text\":\"abc\"}\n{\"text\": secret}");
  EXPECT_THAT(std::string(data.status().message()),
              ::testing::Not(HasSubstr("secret")));
}

TEST_F(TextDataSetTest, AFileWithoutUsableExamplesIsRefused) {
  ExpectRefusal("", "no usable example");
  ExpectRefusal("\n\n", "no usable example");
  ExpectRefusal("{\"text\":\"\"}", "1 of them without a labelled token");
}

TEST_F(TextDataSetTest, AMissingFileIsBadData) {
  const auto data = TextDataSet::Read("/nowhere.jsonl", *model_, options_);
  EXPECT_EQ(KindOf(data.status()), ErrorKind::kData);
}

TEST_F(TextDataSetTest, RefusesAnUnknownSchema) {
  options_.schema = "csv";
  EXPECT_EQ(KindOf(Read(kDog).status()), ErrorKind::kConfig);
}

TEST_F(TextDataSetTest, ANamedSchemaIsNotGuessed) {
  options_.schema = "text";
  ExpectRefusal(kDog, "has no \"text\"");
}

TEST_F(TextDataSetTest, SplitKeepsEveryExampleOnce) {
  std::string text;
  for (char c = 'a'; c < 'k'; ++c) {
    text += std::string("{\"text\":\"0") + c + "\"}\n";
  }
  const auto data = Read(text);
  ASSERT_TRUE(data.ok()) << data.status();
  const auto [train, held_out] = (*data)->Split(0.25, 3);
  EXPECT_EQ(train->size(), 7);
  EXPECT_EQ(held_out->size(), 3);  // 2.5 rounds away from zero
  EXPECT_EQ(held_out->report().labelled_tokens, 3);
  std::set<std::vector<int32_t>> seen;
  for (const auto* part : {train.get(), held_out.get()}) {
    for (int64_t i = 0; i < part->size(); ++i) {
      seen.insert(part->Get(i).tokens);
    }
  }
  EXPECT_EQ(seen.size(), 10u);
}

TEST_F(TextDataSetTest, SplitLeavesOneExampleToEachSide) {
  const auto data = Read("{\"text\":\"ab\"}\n{\"text\":\"cd\"}");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->Split(0.01, 1).second->size(), 1);
  EXPECT_EQ((*data)->Split(1.0, 1).first->size(), 1);
  EXPECT_EQ((*data)->Split(0, 1).second->size(), 0);
}

}  // namespace
}  // namespace edgetune
