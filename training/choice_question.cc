#include "training/choice_question.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/status.h"
#include "training/example_encoder.h"
#include "training/example_files.h"
#include "training/example_source.h"
#include "training/line_reader.h"

namespace edgetune {
namespace {

using nlohmann::json;

constexpr size_t kMaxChoices = 26;  // letters

absl::StatusOr<JsonExample> ReadContext(const json& object) {
  JsonExample context;
  context.schema = TextSchema::kMessages;
  if (object.contains("messages")) {
    EDGETUNE_ASSIGN_OR_RETURN(context.messages, MessagesAt(object, "messages"));
  } else if (object.contains("question")) {
    EDGETUNE_ASSIGN_OR_RETURN(std::string user, TextAt(object, "question", ""));
    context.messages = {{"user", std::move(user)}};
  } else if (object.contains("prompt") && object["prompt"].is_array()) {
    EDGETUNE_ASSIGN_OR_RETURN(context.messages, MessagesAt(object, "prompt"));
  } else if (object.contains("prompt")) {
    context.schema = TextSchema::kText;
    EDGETUNE_ASSIGN_OR_RETURN(context.prompt, TextAt(object, "prompt", ""));
  } else {
    return absl::InvalidArgumentError(
        "has none of \"question\", \"messages\" and \"prompt\"");
  }
  return context;
}

absl::StatusOr<std::vector<std::string>> ReadChoices(const json& object) {
  const auto list = object.find("choices");
  if (list == object.end()) {
    return absl::InvalidArgumentError("has no \"choices\"");
  }
  if (!list->is_array() || list->size() < 2 || list->size() > kMaxChoices) {
    return absl::InvalidArgumentError(
        fmt::format("\"choices\" must be a list of 2 to {}", kMaxChoices));
  }
  std::vector<std::string> choices;
  for (size_t i = 0; i < list->size(); ++i) {
    const json& choice = (*list)[i];
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      return absl::InvalidArgumentError(
          fmt::format("choices[{}] must be a string, not empty", i));
    }
    choices.push_back(choice.get<std::string>());
  }
  return choices;
}

std::optional<size_t> IndexOf(const json& answer) {
  if (answer.is_number_unsigned()) return answer.get<size_t>();
  if (!answer.is_string()) return std::nullopt;
  const auto& text = answer.get_ref<const std::string&>();
  if (text.size() != 1) return std::nullopt;
  if (text[0] >= 'A' && text[0] <= 'Z') return text[0] - 'A';
  if (text[0] >= 'a' && text[0] <= 'z') return text[0] - 'a';
  return std::nullopt;
}

}  // namespace

absl::StatusOr<ChoiceQuestion> ParseChoiceQuestion(std::string_view line) {
  EDGETUNE_ASSIGN_OR_RETURN(const json object, ParseJsonObject(line));
  ChoiceQuestion question;
  EDGETUNE_ASSIGN_OR_RETURN(question.context, ReadContext(object));
  EDGETUNE_ASSIGN_OR_RETURN(question.choices, ReadChoices(object));
  const auto answer = object.find("answer");
  if (answer == object.end()) {
    return absl::InvalidArgumentError("has no \"answer\"");
  }
  const std::optional<size_t> index = IndexOf(*answer);
  if (!index || *index >= question.choices.size()) {
    return absl::InvalidArgumentError(fmt::format(
        "\"answer\" must name one of the {} choices: an index from 0, or a "
        "letter from A",
        question.choices.size()));
  }
  question.answer = *index;
  return question;
}

absl::StatusOr<std::vector<ChoiceQuestion>> ReadChoiceQuestions(
    const std::string& path) {
  std::vector<ChoiceQuestion> questions;
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn({path}));
  for (const std::string& file : files) {
    EDGETUNE_ASSIGN_OR_RETURN(auto reader, LineReader::Open(file));
    while (true) {
      EDGETUNE_ASSIGN_OR_RETURN(const auto line, reader->Next());
      if (!line) break;
      if (IsBlank(*line)) continue;
      auto question = ParseChoiceQuestion(*line);
      if (!question.ok()) {
        return Annotate(Prefix(question.status(), reader->Where()),
                        ErrorKind::kData);
      }
      questions.push_back(*std::move(question));
    }
  }
  if (!questions.empty()) return questions;
  return Annotate(absl::InvalidArgumentError(path + ": no question in it"),
                  ErrorKind::kData);
}

bool HoldsChoiceQuestions(const std::string& path) {
  const auto files = ExampleFilesIn({path});
  if (!files.ok() || IsPlainText(files->front())) return false;
  const auto reader = LineReader::Open(files->front());
  if (!reader.ok()) return false;
  while (true) {
    const auto line = (*reader)->Next();
    if (!line.ok() || !*line) return false;
    if (IsBlank(**line)) continue;
    const auto object = ParseJsonObject(**line);
    return object.ok() && object->contains("choices");
  }
}

absl::StatusOr<LabelledTokens> EncodeChoice(const ModelFile& model,
                                            const ChoiceQuestion& question,
                                            size_t choice) {
  JsonExample example = question.context;
  const std::string& text = question.choices[choice];
  const bool chat = !example.messages.empty();
  if (chat) {
    example.prompt_messages = example.messages.size();
    example.messages.push_back({"assistant", text});
  } else {
    example.completion = text;
  }
  EDGETUNE_ASSIGN_OR_RETURN(LabelledTokens out, EncodeExample(model, example));
  // The last label of a chat is the end of the turn.
  while (!out.labelled.empty() && out.labelled.back() == 0) {
    out.labelled.pop_back();
  }
  if (chat && !out.labelled.empty()) out.labelled.pop_back();
  out.tokens.resize(out.labelled.size());
  if (PredictedLabels(out) > 0) return out;
  return absl::InvalidArgumentError(
      "a choice without a token that something predicts");
}

}  // namespace edgetune
