#include "training/text_data_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"
#include "tests/training/packed.h"

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

  absl::StatusOr<std::unique_ptr<ExampleSet>> Read(const std::string& text) {
    path_ = folder_.File("data_set.jsonl");
    std::ofstream(path_) << text;
    return ReadTextDataSet(path_, *model_, options_);
  }

  std::string Labelled(const LabelledTokens& example) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < example.tokens.size(); ++i) {
      if (example.labelled[i]) ids.push_back(example.tokens[i]);
    }
    return model_->tokenizer().Decode(ids, /*keep_special=*/true);
  }

  std::string Whole(const LabelledTokens& example) {
    return model_->tokenizer().Decode(example.tokens, /*keep_special=*/true);
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

TEST_F(TextDataSetTest, AlpacaBecomesAChatOfTwoTurns) {
  const auto data =
      Read(R"({"instruction":"Add","input":"1 2","output":"3","text":"all"})"
           "\n"
           R"({"instruction":"Hi","input":"","output":"Ho"})"
           "\n"
           R"({"instruction":"Hi","output":"Ho"})");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().schema, "alpaca");
  EXPECT_EQ(Labelled((*data)->Get(0)), "3<|im_end|>");
  EXPECT_THAT(Whole((*data)->Get(0)),
              HasSubstr("<|im_start|>user\nAdd\n\n1 2<|im_end|>\n"));
  EXPECT_EQ((*data)->Get(1).tokens, (*data)->Get(2).tokens);
}

TEST_F(TextDataSetTest, ShareGptIsAChatWithOtherWords) {
  const auto theirs = Read(
      R"({"id":"1","conversations":[{"from":"system","value":"s"},)"
      R"({"from":"human","value":"dog"},{"from":"gpt","value":"an animal"}]})");
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  const auto ours = Read(R"({"messages":[{"role":"system","content":"s"},)"
                         R"({"role":"user","content":"dog"},)"
                         R"({"role":"assistant","content":"an animal"}]})");
  EXPECT_EQ((*theirs)->report().schema, "sharegpt");
  EXPECT_EQ((*theirs)->Get(0).tokens, (*ours)->Get(0).tokens);
  EXPECT_EQ((*theirs)->Get(0).labelled, (*ours)->Get(0).labelled);
}

TEST_F(TextDataSetTest, OtherRolesOfShareGptAreRefusedByName) {
  const auto with = [](const std::string& from) {
    return R"({"conversations":[{"from":")" + from + R"(","value":"x"}]})";
  };
  ExpectRefusal(with("function_call"),
                "conversations[0]: from must be system, human or gpt, got "
                "function_call");
  ExpectRefusal(with("user"), "got user");
  // A word that nobody knows may be anything, a name for instance.
  ExpectRefusal(with("Ada"), "from must be system, human or gpt");
  EXPECT_THAT(std::string(Read(with("Ada")).status().message()),
              ::testing::Not(HasSubstr("Ada")));
}

TEST_F(TextDataSetTest, AKeyThatAppearsTwiceIsRefusedAndNotNamed) {
  for (const char* line :
       {R"({"text":"a","text":"b"})", R"({"text":"a","m":{"q":1,"q":2}})"}) {
    ExpectRefusal(line, ":1: a key appears twice in one object");
  }
}

TEST_F(TextDataSetTest, NestingWithoutEndIsRefused) {
  ExpectRefusal(std::string(1 << 20, '['), ":1: nested deeper than 16");
}

TEST_F(TextDataSetTest, PackedFilesAreReadAsPlainOnes) {
  const std::string text = std::string(kDog) + "\n" + kDog + "\n";
  std::ofstream(folder_.File("a.jsonl.gz"), std::ios::binary)
      << testing::Gzip(text);
  std::ofstream(folder_.File("a.jsonl.zst"), std::ios::binary)
      << testing::Zstd(text);
  for (const char* name : {"a.jsonl.gz", "a.jsonl.zst"}) {
    const auto data = ReadTextDataSet(folder_.File(name), *model_, options_);
    ASSERT_TRUE(data.ok()) << data.status();
    EXPECT_EQ((*data)->size(), 2);
    EXPECT_EQ(Labelled((*data)->Get(1)), "an animal<|im_end|>");
  }
}

TEST_F(TextDataSetTest, ATextFileBecomesBlocks) {
  options_.max_length = 4;
  std::ofstream(folder_.File("a.txt")) << "01234567\r\n8";
  const auto data = ReadTextDataSet(folder_.File("a.txt"), *model_, options_);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().schema, "text");
  ASSERT_EQ((*data)->size(), 3);
  EXPECT_EQ(Whole((*data)->Get(1)), "4567");
  EXPECT_EQ(Whole((*data)->Get(2)), "\n8");
  EXPECT_EQ((*data)->report().truncated, 0);
}

TEST_F(TextDataSetTest, ADirectoryIsOneSetOfOneSchema) {
  const std::string sub = folder_.File("sub");
  std::filesystem::create_directory(sub);
  std::ofstream(sub + "/b.jsonl") << "{\"text\":\"the sea\"}\n";
  std::ofstream(sub + "/a.jsonl") << "{\"text\":\"the land\"}\n";
  const auto data = ReadTextDataSet(sub, *model_, options_);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Whole((*data)->Get(0)), "the land");
  EXPECT_EQ(Whole((*data)->Get(1)), "the sea");
  std::ofstream(sub + "/a.jsonl") << kDog;
  const auto mixed = ReadTextDataSet(sub, *model_, options_);
  EXPECT_EQ(KindOf(mixed.status()), ErrorKind::kData);
  EXPECT_THAT(std::string(mixed.status().message()), HasSubstr("b.jsonl:1"));
}

TEST_F(TextDataSetTest, ATextFileIsNoChat) {
  options_.schema = "messages";
  std::ofstream(folder_.File("a.txt")) << "the sea";
  const auto data = ReadTextDataSet(folder_.File("a.txt"), *model_, options_);
  EXPECT_EQ(KindOf(data.status()), ErrorKind::kData);
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
  EXPECT_EQ(RemarksOf((*data)->report()),
            "; 1 cut to the longest length; 1 left out, nothing to learn");
  EXPECT_EQ((*data)->size(), 1);
}

TEST_F(TextDataSetTest, RefusesALengthBeyondTheContext) {
  options_.max_length = 257;
  EXPECT_EQ(KindOf(Read(kDog).status()), ErrorKind::kConfig);
}

TEST_F(TextDataSetTest, NamesTheLineThatIsWrong) {
  const std::string good = "{\"text\":\"abc\"}\n";
  ExpectRefusal(good + "{\"text\":", "data_set.jsonl:2: not JSON at byte 9");
  ExpectRefusal(good + "[1]", ":2: not a JSON object but array");
  ExpectRefusal(good + good + "{\"txt\":\"abc\"}", ":3: has no \"text\"");
  ExpectRefusal("{\"text\":7}", ":1: \"text\" must be a string, got number");
  ExpectRefusal("{\"text\":\"\xff\"}", ":1: not UTF-8 (byte 10");
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
  const auto data = ReadTextDataSet("/nowhere.jsonl", *model_, options_);
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

TEST_F(TextDataSetTest, OtherExamplesStandInTheSamePlaces) {
  // The second line has nothing to learn and is left out.
  const auto data = Read(R"({"text":"one"})"
                         "\n"
                         R"({"text":""})"
                         "\n"
                         R"({"text":"two"})"
                         "\n");
  ASSERT_TRUE(data.ok()) << data.status();
  const auto other = (*data)->WithExamples(
      {{.tokens = {5, 6, 7}, .labelled = {0, 0, 1}}, (*data)->Get(0)});
  EXPECT_EQ(other->Get(0).tokens, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(other->Get(1).tokens, (*data)->Get(0).tokens);
  EXPECT_EQ(other->PositionOf(1), 2);
  EXPECT_EQ(other->report().schema, "text");
  EXPECT_EQ(other->report().examples, 2);
  const auto learnt = static_cast<int64_t>((*data)->Get(0).tokens.size()) - 1;
  EXPECT_EQ(other->report().labelled_tokens, 1 + learnt);
}

}  // namespace
}  // namespace edgetune
