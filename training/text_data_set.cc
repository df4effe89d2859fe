#include "training/text_data_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

#include "base/mapped_file.h"
#include "base/random.h"
#include "base/status.h"
#include "training/json_example.h"

namespace edgetune {
namespace {

absl::Status DataError(const std::string& message) {
  return Annotate(absl::InvalidArgumentError(message), ErrorKind::kData);
}

absl::StatusOr<std::optional<TextSchema>> SchemaNamed(const std::string& name) {
  if (name == "auto") return std::nullopt;
  for (const auto schema :
       {TextSchema::kMessages, TextSchema::kPrompt, TextSchema::kText}) {
    if (NameOf(schema) == name) return schema;
  }
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "unknown data schema \"{}\"; known: \"auto\", "
                      "\"messages\", \"prompt\", \"text\"",
                      name)),
                  ErrorKind::kConfig);
}

int64_t CountSpecials(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.Encode(text, /*parse_special=*/true);
  return std::count_if(ids.begin(), ids.end(),
                       [&](int32_t id) { return tokenizer.IsControl(id); });
}

// A token is labelled when its bytes overlap the completion, as in chats.
LabelledTokens EncodePlain(const Tokenizer& tokenizer,
                           const JsonExample& example) {
  LabelledTokens out;
  const auto add = [&](int32_t id, bool labelled) {
    out.tokens.push_back(id);
    out.labelled.push_back(labelled ? 1 : 0);
  };
  if (tokenizer.add_bos() && tokenizer.bos() >= 0) add(tokenizer.bos(), false);
  for (const auto& piece :
       tokenizer.EncodeWithOffsets(example.prompt + example.completion,
                                   /*parse_special=*/false)) {
    add(piece.id, piece.end > example.prompt.size());
  }
  // An answer ends; a text may be a part of a longer one.
  if (example.schema == TextSchema::kPrompt && tokenizer.eos() >= 0) {
    add(tokenizer.eos(), true);
  }
  return out;
}

absl::StatusOr<LabelledTokens> EncodeChat(const ModelFile& model,
                                          const JsonExample& example) {
  const std::span<const ChatMessage> messages(example.messages);
  EDGETUNE_ASSIGN_OR_RETURN(
      LabelledTokens out,
      model.chat_template().Encode(model.tokenizer(), messages,
                                   /*add_generation_prompt=*/false));
  if (example.prompt_messages == 0) return out;
  // Messages end with special tokens, so the prompt's tokens are a prefix.
  EDGETUNE_ASSIGN_OR_RETURN(
      const LabelledTokens prompt,
      model.chat_template().Encode(model.tokenizer(),
                                   messages.first(example.prompt_messages),
                                   /*add_generation_prompt=*/false));
  std::fill_n(out.labelled.begin(),
              std::min(prompt.tokens.size(), out.labelled.size()), 0);
  return out;
}

int64_t PredictedLabels(const LabelledTokens& example) {
  if (example.labelled.empty()) return 0;
  return std::count(example.labelled.begin() + 1, example.labelled.end(), 1);
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

// Turns lines into examples and counts what it meets.
class Reader {
 public:
  Reader(const ModelFile& model, const TextDataOptions& options,
         std::optional<TextSchema> schema)
      : model_(model), options_(options), schema_(schema) {}

  absl::Status Add(std::string_view line) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      return absl::OkStatus();
    }
    EDGETUNE_ASSIGN_OR_RETURN(const JsonExample parsed,
                              ParseJsonExample(line, schema_));
    schema_ = parsed.schema;
    CountSpecialsOf(parsed);
    LabelledTokens example;
    if (parsed.messages.empty()) {
      example = EncodePlain(model_.tokenizer(), parsed);
    } else {
      EDGETUNE_ASSIGN_OR_RETURN(example, EncodeChat(model_, parsed));
    }
    Keep(std::move(example));
    return absl::OkStatus();
  }

  std::vector<LabelledTokens> TakeExamples() { return std::move(examples_); }
  TextDataReport report() const {
    TextDataReport out = report_;
    if (schema_) out.schema = NameOf(*schema_);
    return out;
  }

 private:
  void CountSpecialsOf(const JsonExample& parsed) {
    const Tokenizer& tokenizer = model_.tokenizer();
    report_.specials_in_content += CountSpecials(tokenizer, parsed.prompt) +
                                   CountSpecials(tokenizer, parsed.completion);
    for (const ChatMessage& message : parsed.messages) {
      report_.specials_in_content += CountSpecials(tokenizer, message.content);
    }
  }

  void Keep(LabelledTokens example) {
    const auto limit = static_cast<size_t>(options_.max_length);
    if (example.tokens.size() > limit) {
      example.tokens.resize(limit);
      example.labelled.resize(limit);
      ++report_.truncated;
    }
    const int64_t labels = PredictedLabels(example);
    if (labels == 0) {
      ++report_.label_less;
      return;
    }
    report_.labelled_tokens += labels;
    ++report_.examples;
    examples_.push_back(std::move(example));
  }

  const ModelFile& model_;
  const TextDataOptions& options_;
  std::optional<TextSchema> schema_;
  std::vector<LabelledTokens> examples_;
  TextDataReport report_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextDataSet>> TextDataSet::Read(
    const std::string& path, const ModelFile& model,
    const TextDataOptions& options) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto schema, SchemaNamed(options.schema));
  if (options.max_length < 2 || options.max_length > model.config().context) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "max_length must lie between 2 and the model's "
                        "context of {}, got {}",
                        model.config().context, options.max_length)),
                    ErrorKind::kConfig);
  }
  const auto opened = MappedFile::Open(path);
  if (!opened.ok()) return Annotate(opened.status(), ErrorKind::kData);
  const auto bytes = (*opened)->bytes();
  Reader reader(model, options, schema);
  int64_t number = 0;
  for (const std::string_view line :
       Lines({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
    ++number;
    const absl::Status added = reader.Add(line);
    if (!added.ok()) {
      return Annotate(Prefix(added, fmt::format("{}:{}", path, number)),
                      ErrorKind::kData);
    }
  }
  auto out = std::make_unique<TextDataSet>();
  out->examples_ = reader.TakeExamples();
  out->report_ = reader.report();
  if (!out->examples_.empty()) return out;
  return DataError(fmt::format(
      "{}: no usable example ({} lines, {} of them without a labelled token)",
      path, number, out->report_.label_less));
}

int64_t TextDataSet::size() const {
  return static_cast<int64_t>(examples_.size());
}

const LabelledTokens& TextDataSet::Get(int64_t index) const {
  return examples_[static_cast<size_t>(index)];
}

std::pair<std::unique_ptr<TextDataSet>, std::unique_ptr<TextDataSet>>
TextDataSet::Split(double fraction, uint64_t seed) const {
  const auto n = static_cast<double>(examples_.size());
  // NaN and what is below 0 leave nothing held out; one example stays to
  // train on.
  double held = fraction > 0 ? std::max(1.0, std::round(fraction * n)) : 0;
  held = std::max(0.0, std::min(held, n - 1));
  std::vector<size_t> order(examples_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Random random = Random(seed).Split("held out");
  random.Shuffle(order);
  auto train = std::make_unique<TextDataSet>();
  auto held_out = std::make_unique<TextDataSet>();
  for (size_t i = 0; i < order.size(); ++i) {
    const bool trains = static_cast<double>(i) < n - held;
    TextDataSet& part = trains ? *train : *held_out;
    part.examples_.push_back(examples_[order[i]]);
    part.report_.labelled_tokens += PredictedLabels(examples_[order[i]]);
  }
  for (TextDataSet* part : {train.get(), held_out.get()}) {
    part->report_.schema = report_.schema;
    part->report_.examples = part->size();
  }
  return {std::move(train), std::move(held_out)};
}

}  // namespace edgetune
