#include "training/choice_question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ChoiceQuestionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = folder_.File("model.gguf");
    ASSERT_TRUE(testing::WriteTinyModel(path).ok());
    model_ = *ModelFile::Open(path);
  }

  // Tokens and, of these, the labelled ones, as text.
  std::pair<std::string, std::string> Texts(const std::string& line,
                                            size_t choice) {
    const auto question = ParseChoiceQuestion(line);
    EXPECT_TRUE(question.ok()) << question.status();
    const auto encoded = EncodeChoice(*model_, *question, choice);
    EXPECT_TRUE(encoded.ok()) << encoded.status();
    std::vector<int32_t> labelled;
    for (size_t i = 0; i < encoded->tokens.size(); ++i) {
      if (encoded->labelled[i]) labelled.push_back(encoded->tokens[i]);
    }
    const Tokenizer& tokenizer = model_->tokenizer();
    return {tokenizer.Decode(encoded->tokens, true),
            tokenizer.Decode(labelled, true)};
  }

  void ExpectRefusal(const std::string& line, const std::string& message) {
    const auto question = ParseChoiceQuestion(line);
    EXPECT_TRUE(absl::IsInvalidArgument(question.status())) << line;
    EXPECT_THAT(std::string(question.status().message()), HasSubstr(message));
  }

  testing::ScratchDirectory folder_;
  std::unique_ptr<ModelFile> model_;
};

TEST_F(ChoiceQuestionTest, AnswersAreAnIndexOrALetter) {
  const auto answer = [](const std::string& json) {
    return ParseChoiceQuestion(
               R"({"question":"q","choices":["a","b","c"],"answer":)" + json +
               "}")
        ->answer;
  };
  EXPECT_EQ(answer("0"), 0u);
  EXPECT_EQ(answer("2"), 2u);
  EXPECT_EQ(answer("\"B\""), 1u);
  EXPECT_EQ(answer("\"c\""), 2u);
}

TEST_F(ChoiceQuestionTest, AQuestionIsAskedInAChatAndTheChoiceAloneScored) {
  const auto [all, scored] =
      Texts(R"({"question":"why?","choices":["no","yes 1"],"answer":1})", 1);
  EXPECT_THAT(all, HasSubstr("user\nwhy?<|im_end|>\n<|im_start|>assistant\n"));
  EXPECT_TRUE(all.ends_with("assistant\nyes 1")) << all;
  EXPECT_EQ(scored, "yes 1");
}

TEST_F(ChoiceQuestionTest, AChatsOwnAnswersAreNotScored) {
  const auto [all, scored] = Texts(
      R"({"messages":[{"role":"user","content":"1"},)"
      R"({"role":"assistant","content":"2"},{"role":"user","content":"3"}],)"
      R"("choices":["4","5"],"answer":0})",
      0);
  EXPECT_EQ(scored, "4");
}

TEST_F(ChoiceQuestionTest, APromptIsContinuedAsItStands) {
  const auto [all, scored] =
      Texts(R"({"prompt":"1 + 1 =","choices":[" 2"," 3"],"answer":0})", 1);
  EXPECT_EQ(all, "1 + 1 = 3");
  EXPECT_EQ(scored, " 3");
}

TEST_F(ChoiceQuestionTest, SaysWhatIsWrongAndNeverWhatStandsThere) {
  const auto with = [](const std::string& rest) {
    return R"({"question":"q",)" + rest + "}";
  };
  ExpectRefusal("{\"choices\":[\"a\",\"b\"],\"answer\":0}", "has none of");
  ExpectRefusal(with(R"("choices":"ab","answer":0)"), "a list of 2 to 26");
  ExpectRefusal(with(R"("choices":["a"],"answer":0)"), "a list of 2 to 26");
  ExpectRefusal(with(R"("choices":["a",7],"answer":0)"), "choices[1] must be");
  ExpectRefusal(with(R"("choices":["a","b"])"), "has no \"answer\"");
  for (const char* answer : {"2", "-1", "0.5", "\"C\"", "\"ada\"", "null"}) {
    ExpectRefusal(
        with(R"("choices":["a","b"],"answer":)" + std::string(answer)),
        "must name one of the 2 choices");
  }
}

TEST_F(ChoiceQuestionTest, FilesAreTakenForQuestionsByTheirFirstLine) {
  const std::string path = folder_.File("a.jsonl");
  std::ofstream(path) << "\n{\"question\":\"q\",\"choices\":[\"a\",\"b\"],"
                         "\"answer\":0}\n{\"text\":\"secret\"}\n";
  EXPECT_TRUE(HoldsChoiceQuestions(path));
  const auto questions = ReadChoiceQuestions(path);
  EXPECT_EQ(KindOf(questions.status()), ErrorKind::kData);
  EXPECT_THAT(
      std::string(questions.status().message()),
      ::testing::AllOf(HasSubstr("a.jsonl:3"), Not(HasSubstr("secret"))));
  std::ofstream(path) << "{\"text\":\"a\"}\n";
  EXPECT_FALSE(HoldsChoiceQuestions(path));
  EXPECT_FALSE(HoldsChoiceQuestions("/nowhere.jsonl"));
}

}  // namespace
}  // namespace edgetune
