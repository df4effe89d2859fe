#include "tools/data/data_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "tools/child_process.h"
#include "training/example_encoder.h"
#include "training/example_files.h"
#include "training/example_source.h"

namespace edgetune {
namespace {

int64_t BytesOf(const JsonExample& example) {
  size_t bytes = example.prompt.size() + example.completion.size();
  for (const ChatMessage& message : example.messages) {
    bytes += message.content.size();
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace

void DataCounts::Add(const DataCounts& other) {
  examples += other.examples;
  messages += other.messages;
  bytes += other.bytes;
  longest = std::max(longest, other.longest);
  duplicates += other.duplicates;
  tokens += other.tokens;
  labelled_tokens += other.labelled_tokens;
  truncated += other.truncated;
  label_less += other.label_less;
  specials_in_content += other.specials_in_content;
}

std::string ContentDigest(const JsonExample& example) {
  std::string all = fmt::format("{}:{}", example.prompt.size(), example.prompt);
  all += example.completion;
  for (const ChatMessage& message : example.messages) {
    all += fmt::format("{}:{}:{}", message.role, message.content.size(),
                       message.content);
  }
  return Sha256Bytes(all);
}

DataSurvey::DataSurvey(const ModelFile* model, int64_t max_length, size_t keep,
                       Progress& progress)
    : model_(model),
      max_length_(max_length),
      keep_(keep),
      progress_(progress) {}

absl::StatusOr<DataCounts> DataSurvey::Add(const std::string& file) {
  counts_ = {};
  if (IsPlainText(file)) {
    EDGETUNE_RETURN_IF_ERROR(AddText(file));
  } else {
    EDGETUNE_RETURN_IF_ERROR(ReadExamples(
        file, schema_,
        [&](const ExampleLine& line) { return AddExample(line.example); },
        [&](uint64_t bytes) { progress_.Update(bytes_before_ + bytes); }));
  }
  bytes_before_ += TotalBytes({file});
  return counts_;
}

std::string DataSurvey::schema() const {
  return schema_ ? std::string(NameOf(*schema_)) : "none";
}

std::vector<int64_t> DataSurvey::SortedLengths() const {
  std::vector<int64_t> sorted = lengths_;
  std::ranges::sort(sorted);
  return sorted;
}

absl::Status DataSurvey::AddExample(const JsonExample& example) {
  if (Interrupted()) return InterruptedError();
  ++counts_.examples;
  counts_.messages += static_cast<int64_t>(example.messages.size());
  counts_.bytes += BytesOf(example);
  counts_.longest = std::max(counts_.longest, BytesOf(example));
  if (Repeated(example)) ++counts_.duplicates;
  if (model_ != nullptr) {
    counts_.specials_in_content +=
        SpecialsInContent(model_->tokenizer(), example);
    EDGETUNE_ASSIGN_OR_RETURN(LabelledTokens tokens,
                              EncodeExample(*model_, example));
    AddTokens(std::move(tokens));
  } else if (rendered_.size() < keep_) {
    std::string text = example.prompt + "[[" + example.completion + "]]";
    if (!example.messages.empty()) text.clear();
    for (const ChatMessage& m : example.messages) {
      text += fmt::format("{}: {}\n", m.role, m.content);
    }
    rendered_.push_back(std::move(text));
  }
  return absl::OkStatus();
}

absl::Status DataSurvey::AddText(const std::string& file) {
  if (schema_.value_or(TextSchema::kText) != TextSchema::kText) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "{}: plain text among examples of the schema \"{}\"",
                        file, NameOf(*schema_))),
                    ErrorKind::kData,
                    "keep .txt files in a directory of their own");
  }
  schema_ = TextSchema::kText;
  std::optional<TextBlocks> blocks;
  if (model_ != nullptr) blocks.emplace(model_->tokenizer(), max_length_);
  const auto add = [&](std::vector<LabelledTokens> made) {
    counts_.examples += static_cast<int64_t>(made.size());
    for (LabelledTokens& block : made) AddTokens(std::move(block));
  };
  EDGETUNE_RETURN_IF_ERROR(ReadPlainText(
      file,
      [&](std::string_view part) {
        if (Interrupted()) return InterruptedError();
        counts_.bytes += static_cast<int64_t>(part.size());
        if (!blocks) return absl::OkStatus();
        JsonExample whole;
        whole.completion = part;
        counts_.specials_in_content +=
            SpecialsInContent(model_->tokenizer(), whole);
        add(blocks->Add(part));
        return absl::OkStatus();
      },
      [&](uint64_t bytes) { progress_.Update(bytes_before_ + bytes); }));
  if (blocks) {
    add(blocks->EndText());
  } else {
    ++counts_.examples;
  }
  counts_.longest = counts_.bytes;
  return absl::OkStatus();
}

void DataSurvey::AddTokens(LabelledTokens example) {
  const auto size = static_cast<int64_t>(example.tokens.size());
  lengths_.push_back(size);
  counts_.tokens += size;
  counts_.labelled_tokens += PredictedLabels(example);
  if (rendered_.size() < keep_) rendered_.push_back(Render(example));
  if (size > max_length_) {
    ++counts_.truncated;
    example.tokens.resize(static_cast<size_t>(max_length_));
    example.labelled.resize(static_cast<size_t>(max_length_));
  }
  if (PredictedLabels(example) == 0) ++counts_.label_less;
}

bool DataSurvey::Repeated(const JsonExample& example) {
  return !seen_.insert(ContentDigest(example)).second;
}

std::string DataSurvey::Render(const LabelledTokens& example) const {
  std::string text;
  size_t at = 0;
  while (at < example.tokens.size()) {
    const uint8_t mark = example.labelled[at];
    size_t end = at;
    while (end < example.tokens.size() && example.labelled[end] == mark) ++end;
    const auto ids = std::span(example.tokens).subspan(at, end - at);
    const std::string part = model_->tokenizer().Decode(ids, true);
    text += mark != 0 ? "[[" + part + "]]" : part;
    at = end;
  }
  return text;
}

nlohmann::json CountsJson(const DataCounts& counts, bool tokens) {
  nlohmann::json json = {{"examples", counts.examples},
                         {"messages", counts.messages},
                         {"bytes", counts.bytes},
                         {"longest_bytes", counts.longest},
                         {"duplicates", counts.duplicates}};
  if (!tokens) return json;
  json["tokens"] = counts.tokens;
  json["labelled_tokens"] = counts.labelled_tokens;
  json["truncated"] = counts.truncated;
  json["label_less"] = counts.label_less;
  json["specials_in_content"] = counts.specials_in_content;
  return json;
}

}  // namespace edgetune
