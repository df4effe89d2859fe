#include "models/io/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "models/io/model_file.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

// The templates of SmolLM2-135M-Instruct (GGUF), of SmolLM-135M-Instruct and
// of Qwen1.5, which spell ChatML in three ways.
constexpr char kSmollm2[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != "
    "'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named "
    "SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}";
constexpr char kPlain[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr char kSpread[] =
    "{%- if not add_generation_prompt is defined -%}\n"
    "  {%- set add_generation_prompt = false -%}\n"
    "{%- endif -%}\n"
    "{# one turn after the other #}\n"
    "{%- for message in messages -%}\n"
    "  {{- \"<|im_start|>\" + message.role + \"\\n\" }}\n"
    "  {{- (message.content) + \"<|im_end|>\\n\" }}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "  {{- \"<|im_start|>assistant\\n\" }}\n"
    "{%- endif -%}\n";

std::string Rendered(const char* source) {
  const std::vector<ChatMessage> chat = {{"user", "Hi"}};
  return *ChatTemplate::Recognise(source).Render(chat, true);
}

TEST(ChatTemplateTest, ReadsTheDefaultSystemText) {
  const auto chat = ChatTemplate::Recognise(kSmollm2);
  EXPECT_TRUE(chat.present());
  EXPECT_EQ(chat.default_system(),
            "You are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face");
}

TEST(ChatTemplateTest, RendersAsJinjaDoes) {
  // Text of transformers' apply_chat_template.
  EXPECT_EQ(Rendered(kSmollm2),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
            "trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>"
            "\n<|im_start|>assistant\n");
  const std::string plain =
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(Rendered(kPlain), plain);
  EXPECT_EQ(Rendered(kSpread), plain);
}

TEST(ChatTemplateTest, OwnSystemMessageReplacesTheDefault) {
  const std::vector<ChatMessage> chat = {{"system", "Be brief"}, {"user", "x"}};
  EXPECT_EQ(*ChatTemplate::Recognise(kSmollm2).Render(chat, false),
            "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nx"
            "<|im_end|>\n");
}

class OtherTemplate : public ::testing::TestWithParam<const char*> {};

TEST_P(OtherTemplate, IsKeptButNotRendered) {
  const auto chat = ChatTemplate::Recognise(GetParam());
  EXPECT_FALSE(chat.present());
  EXPECT_EQ(chat.source(), GetParam());
  const std::vector<ChatMessage> messages = {{"user", "x"}};
  const auto status = chat.Render(messages, false).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("not plain ChatML"), std::string::npos);
  EXPECT_EQ(KindOf(status), ErrorKind::kModel);
}

INSTANTIATE_TEST_SUITE_P(
    Templates, OtherTemplate,
    ::testing::Values(
        "[INST] {{ messages[0]['content'] }} [/INST]", "{% for", "{{ 'open",
        "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n",
        // Trims the content, which the renderer would not.
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + "
        "'\\n' + message['content'] | trim + '<|im_end|>' + '\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
        "{% endif %}",
        // No line break behind a turn.
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + "
        "'\\n' + message['content'] + '<|im_end|>'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
        "{% endif %}"));

TEST(ChatTemplateTest, AbsentTemplateRendersNothing) {
  const auto chat = ChatTemplate::Recognise("");
  EXPECT_FALSE(chat.present());
  const std::vector<ChatMessage> messages = {{"user", "x"}};
  EXPECT_EQ(chat.Render(messages, false).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ChatTemplate::Recognise(kPlain).Render({}, false).status().code(),
            absl::StatusCode::kInvalidArgument);
}

class ChatEncodingTest : public ::testing::Test {
 protected:
  ChatEncodingTest() {
    const testing::ScratchDirectory directory;
    const std::string path = directory.File("tiny.gguf");
    EXPECT_TRUE(testing::WriteTinyModel(path).ok());
    model_ = std::move(ModelFile::Open(path)).value();
  }
  LabelledTokens Encode(const std::vector<ChatMessage>& messages, bool prompt) {
    return *model_->chat_template().Encode(model_->tokenizer(), messages,
                                           prompt);
  }
  std::string Labelled(const LabelledTokens& tokens) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < tokens.tokens.size(); ++i) {
      if (tokens.labelled[i] != 0) ids.push_back(tokens.tokens[i]);
    }
    return model_->tokenizer().Decode(ids, true);
  }
  std::unique_ptr<ModelFile> model_;
};

TEST_F(ChatEncodingTest, LabelsOnlyTheAssistantsWords) {
  const auto tokens = Encode({{"user", "the"},
                              {"assistant", "a domestic animal"},
                              {"user", "and"},
                              {"assistant", "of"}},
                             false);
  EXPECT_EQ(Labelled(tokens), "a domestic animal<|im_end|>of<|im_end|>");
}

TEST_F(ChatEncodingTest, EncodesTheRenderedText) {
  const std::vector<ChatMessage> messages = {{"user", "in the end"}};
  const auto text = *model_->chat_template().Render(messages, true);
  const auto tokens = Encode(messages, true);
  EXPECT_EQ(tokens.tokens, model_->tokenizer().Encode(text, true));
  EXPECT_EQ(Labelled(tokens), "");
}

TEST_F(ChatEncodingTest, SpecialTokensInContentStayText) {
  const auto tokens = Encode({{"user", "<|im_end|>"}}, false);
  const int32_t end = model_->tokenizer().IdOf("<|im_end|>");
  // One of the default system message, one of the user's.
  EXPECT_EQ(std::count(tokens.tokens.begin(), tokens.tokens.end(), end), 2);
}

TEST_F(ChatEncodingTest, EmptyAnswerStillTeachesTheEnd) {
  EXPECT_EQ(Labelled(Encode({{"user", "x"}, {"assistant", ""}}, false)),
            "<|im_end|>");
}

}  // namespace
}  // namespace edgetune
