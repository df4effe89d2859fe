#include "training/text_data_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

#include "base/random.h"
#include "base/status.h"
#include "training/example_encoder.h"
#include "training/example_files.h"

namespace edgetune {
namespace {

absl::Status CheckLength(const ModelFile& model, int64_t max_length) {
  if (max_length >= 2 && max_length <= model.config().context) {
    return absl::OkStatus();
  }
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "max_length must lie between 2 and the model's "
                      "context of {}, got {}",
                      model.config().context, max_length)),
                  ErrorKind::kConfig);
}

// Turns files into examples and counts what it meets.
class Reader {
 public:
  Reader(const ModelFile& model, const TextDataOptions& options,
         std::optional<TextSchema> schema)
      : model_(model), options_(options), schema_(schema) {}

  absl::Status Add(const std::string& file) {
    if (IsPlainText(file)) return AddText(file);
    return ReadExamples(
        file, schema_,
        [&](const ExampleLine& line) -> absl::Status {
          ++lines_;
          report_.specials_in_content +=
              SpecialsInContent(model_.tokenizer(), line.example);
          EDGETUNE_ASSIGN_OR_RETURN(LabelledTokens example,
                                    EncodeExample(model_, line.example));
          Keep(std::move(example));
          return absl::OkStatus();
        },
        nullptr);
  }

  std::vector<LabelledTokens> TakeExamples() { return std::move(examples_); }
  std::vector<int64_t> TakePositions() { return std::move(positions_); }
  int64_t lines() const { return lines_; }
  TextDataReport report() const {
    TextDataReport out = report_;
    if (schema_) out.schema = NameOf(*schema_);
    return out;
  }

 private:
  absl::Status AddText(const std::string& file) {
    if (schema_.value_or(TextSchema::kText) != TextSchema::kText) {
      return Annotate(
          absl::InvalidArgumentError(fmt::format(
              "{}: plain text, where examples of the schema \"{}\" are wanted",
              file, NameOf(*schema_))),
          ErrorKind::kData, "keep .txt files in a directory of their own");
    }
    schema_ = TextSchema::kText;
    const Tokenizer& tokenizer = model_.tokenizer();
    TextBlocks blocks(tokenizer, options_.max_length);
    EDGETUNE_RETURN_IF_ERROR(ReadPlainText(
        file,
        [&](std::string_view part) {
          JsonExample whole;
          whole.completion = part;
          report_.specials_in_content += SpecialsInContent(tokenizer, whole);
          KeepBlocks(blocks.Add(part));
          return absl::OkStatus();
        },
        nullptr));
    KeepBlocks(blocks.EndText());
    return absl::OkStatus();
  }

  void KeepBlocks(std::vector<LabelledTokens> blocks) {
    for (LabelledTokens& block : blocks) {
      ++lines_;
      Keep(std::move(block));
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
    positions_.push_back(lines_ - 1);
  }

  const ModelFile& model_;
  const TextDataOptions& options_;
  std::optional<TextSchema> schema_;
  std::vector<LabelledTokens> examples_;
  std::vector<int64_t> positions_;
  int64_t lines_ = 0;  // or blocks
  TextDataReport report_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextDataSet>> TextDataSet::Read(
    const std::string& path, const ModelFile& model,
    const TextDataOptions& options) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto schema, SchemaNamed(options.schema));
  EDGETUNE_RETURN_IF_ERROR(CheckLength(model, options.max_length));
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn({path}));
  Reader reader(model, options, schema);
  for (const std::string& file : files) {
    EDGETUNE_RETURN_IF_ERROR(reader.Add(file));
  }
  auto out = std::make_unique<TextDataSet>();
  out->examples_ = reader.TakeExamples();
  out->positions_ = reader.TakePositions();
  out->report_ = reader.report();
  if (!out->examples_.empty()) return out;
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "{}: no usable example ({} read, {} of them without a labelled "
          "token)",
          path, reader.lines(), out->report_.label_less)),
      ErrorKind::kData);
}

std::string RemarksOf(const TextDataReport& report) {
  std::string text;
  if (report.truncated > 0) {
    text += fmt::format("; {} cut to the longest length", report.truncated);
  }
  if (report.label_less > 0) {
    text += fmt::format("; {} left out, nothing to learn", report.label_less);
  }
  if (report.specials_in_content > 0) {
    text += fmt::format("; {} special tokens written out, taken as plain text",
                        report.specials_in_content);
  }
  return text;
}

int64_t TextDataSet::size() const {
  return static_cast<int64_t>(examples_.size());
}

const LabelledTokens& TextDataSet::Get(int64_t index) const {
  return examples_[static_cast<size_t>(index)];
}

int64_t TextDataSet::PositionOf(int64_t index) const {
  return positions_[static_cast<size_t>(index)];
}

std::unique_ptr<TextDataSet> TextDataSet::Select(
    std::span<const size_t> indices) const {
  auto part = std::make_unique<TextDataSet>();
  for (const size_t index : indices) {
    part->examples_.push_back(examples_[index]);
    part->positions_.push_back(positions_[index]);
    part->report_.labelled_tokens += PredictedLabels(examples_[index]);
  }
  part->report_.schema = report_.schema;
  part->report_.examples = part->size();
  return part;
}

std::unique_ptr<TextDataSet> TextDataSet::WithExamples(
    std::vector<LabelledTokens> examples) const {
  EDGETUNE_CHECK(examples.size() == examples_.size());
  auto other = std::make_unique<TextDataSet>();
  for (const LabelledTokens& example : examples) {
    other->report_.labelled_tokens += PredictedLabels(example);
  }
  other->examples_ = std::move(examples);
  other->positions_ = positions_;
  other->report_.schema = report_.schema;
  other->report_.examples = other->size();
  return other;
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
  const std::span<const size_t> all(order);
  const size_t trained = order.size() - static_cast<size_t>(held);
  return {Select(all.first(trained)), Select(all.subspan(trained))};
}

}  // namespace edgetune
