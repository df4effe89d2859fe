#include "training/text_data_set.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

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
  DataReport report() const {
    DataReport out = report_;
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
  DataReport report_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ExampleSet>> ReadTextDataSet(
    const std::string& path, const ModelFile& model,
    const TextDataOptions& options) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto schema, SchemaNamed(options.schema));
  EDGETUNE_RETURN_IF_ERROR(CheckLength(model, options.max_length));
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn({path}));
  Reader reader(model, options, schema);
  for (const std::string& file : files) {
    EDGETUNE_RETURN_IF_ERROR(reader.Add(file));
  }
  const DataReport report = reader.report();
  if (report.examples > 0) {
    return std::make_unique<ExampleSet>(
        ExampleSet::Parts{.examples = reader.TakeExamples(),
                          .positions = reader.TakePositions(),
                          .report = report});
  }
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "{}: no usable example ({} read, {} of them without a labelled "
          "token)",
          path, reader.lines(), report.label_less)),
      ErrorKind::kData);
}

}  // namespace edgetune
