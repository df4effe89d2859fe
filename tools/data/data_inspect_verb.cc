#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "tools/child_process.h"
#include "tools/data/data_survey.h"
#include "tools/data/image_survey.h"
#include "tools/model/model_path.h"
#include "tools/percentile.h"
#include "tools/verbs.h"
#include "training/example_files.h"
#include "training/image_data_set.h"

namespace edgetune {
namespace {

struct DataInspectOptions {
  std::vector<std::string> files;
  std::string model;
  int64_t max_length = 512;
  size_t show = 0;
};

absl::StatusOr<std::shared_ptr<const ModelFile>> ModelOf(
    const DataInspectOptions& options) {
  if (options.model.empty()) return std::shared_ptr<const ModelFile>();
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  const int64_t context = model->config().context;
  if (options.max_length >= 2 && options.max_length <= context) return model;
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "--max-length {}: wanted 2 to {}, the model's context",
                      options.max_length, context)),
                  ErrorKind::kUsage);
}

absl::Status NothingIn(const std::vector<std::string>& files) {
  return Annotate(
      absl::InvalidArgumentError(files.front() + ": no example in it"),
      ErrorKind::kData);
}

double Share(int64_t part, int64_t whole) {
  return whole == 0 ? 0
                    : static_cast<double>(part) / static_cast<double>(whole);
}

std::string Text(const nlohmann::json& data, const DataCounts& all) {
  std::string text = fmt::format(
      "schema      {}\nexamples    {} ({} exact duplicates)\ntext        {}\n",
      data["schema"].get<std::string>(), all.examples, all.duplicates,
      FormatBytes(static_cast<uint64_t>(all.bytes)));
  if (!data.contains("length")) return text;
  const auto& length = data["length"];
  text += fmt::format(
      "tokens      {}, an example p50 {}, p90 {}, p99 {}, max {}\n"
      "learned     {} tokens, {:.1f} %\n"
      "truncated   {} at {} tokens\nlabel-less  {}\n"
      "specials    {} written out in the text, taken as plain text\n",
      all.tokens, length["p50"].get<int64_t>(), length["p90"].get<int64_t>(),
      length["p99"].get<int64_t>(), length["max"].get<int64_t>(),
      all.labelled_tokens, 100 * data["label_share"].get<double>(),
      all.truncated, data["max_length"].get<int64_t>(), all.label_less,
      all.specials_in_content);
  return text;
}

nlohmann::json LengthJson(const std::vector<int64_t>& sorted) {
  return {{"p50", Percentile(sorted, 50)},
          {"p90", Percentile(sorted, 90)},
          {"p99", Percentile(sorted, 99)},
          {"max", Percentile(sorted, 100)}};
}

absl::Status InspectImages(const DataInspectOptions& options,
                           const Output& output) {
  if (!options.model.empty() || options.show > 0) {
    return Annotate(absl::InvalidArgumentError(
                        options.files[0] + " holds folders of images: --model "
                                           "and --show are for texts"),
                    ErrorKind::kUsage);
  }
  EDGETUNE_ASSIGN_OR_RETURN(const ImageSurvey survey,
                            SurveyImages(options.files[0], output));
  return output.Finish(SurveyJson(survey), SurveyText(survey));
}

absl::Status Inspect(const DataInspectOptions& options, const Output& output) {
  CatchInterrupts();
  if (options.files.size() == 1 && IsImageFolder(options.files[0])) {
    return InspectImages(options, output);
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto model, ModelOf(options));
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn(options.files));
  DataCounts all;
  nlohmann::json data;
  std::vector<std::string> rendered;
  {
    Progress progress(output, "read", TotalBytes(files),
                      Progress::Unit::kBytes);
    DataSurvey survey(model.get(), options.max_length, options.show, progress);
    for (const std::string& file : files) {
      EDGETUNE_ASSIGN_OR_RETURN(const DataCounts counts, survey.Add(file));
      all.Add(counts);
    }
    data = CountsJson(all, model != nullptr);
    data["schema"] = survey.schema();
    data["files"] = files;
    if (model != nullptr) {
      data["length"] = LengthJson(survey.SortedLengths());
      data["max_length"] = options.max_length;
      data["label_share"] = Share(all.labelled_tokens, all.tokens);
    }
    rendered = survey.rendered();
  }
  if (all.examples == 0) return NothingIn(options.files);
  if (options.show > 0) data["first"] = rendered;
  std::string text = Text(data, all);
  for (const std::string& example : rendered) text += "\n" + example + "\n";
  return output.Finish(data, text);
}

// The rows of `stats`, with columns of tokens when a model counts them.
class StatsTable {
 public:
  explicit StatsTable(bool tokens) : tokens_(tokens) {
    rows_ = {
        {"file", "examples", "messages", "bytes", "longest", "duplicates"}};
    if (tokens) {
      rows_[0].insert(rows_[0].end(),
                      {"tokens", "learned", "truncated", "label-less"});
    }
  }

  void Add(const std::string& name, const DataCounts& c) {
    std::vector<int64_t> cells = {c.examples, c.messages, c.bytes, c.longest,
                                  c.duplicates};
    if (tokens_) {
      cells.insert(cells.end(),
                   {c.tokens, c.labelled_tokens, c.truncated, c.label_less});
    }
    std::vector<std::string>& row = rows_.emplace_back();
    row.push_back(name);
    for (const int64_t cell : cells) row.push_back(fmt::format("{}", cell));
  }

  std::string text() const {
    return FormatTable(rows_, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  }

 private:
  const bool tokens_;
  std::vector<std::vector<std::string>> rows_;
};

absl::Status Stats(const DataInspectOptions& options, const Output& output) {
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(const auto model, ModelOf(options));
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn(options.files));
  const bool tokens = model != nullptr;
  StatsTable table(tokens);
  DataCounts all;
  nlohmann::json data = {{"files", nlohmann::json::array()}};
  {
    Progress progress(output, "read", TotalBytes(files),
                      Progress::Unit::kBytes);
    DataSurvey survey(model.get(), options.max_length, 0, progress);
    for (const std::string& file : files) {
      EDGETUNE_ASSIGN_OR_RETURN(const DataCounts counts, survey.Add(file));
      all.Add(counts);
      nlohmann::json one = CountsJson(counts, tokens);
      one["file"] = file;
      data["files"].push_back(one);
      table.Add(file, counts);
    }
    data["schema"] = survey.schema();
  }
  if (all.examples == 0) return NothingIn(options.files);
  data["total"] = CountsJson(all, tokens);
  table.Add(fmt::format("total, {}", data["schema"].get<std::string>()), all);
  return output.Finish(data, table.text());
}

void AddOptions(CLI::App& verb, DataInspectOptions& options) {
  verb.add_option("files", options.files,
                  "Files (.jsonl, .jsonl.gz, .jsonl.zst, .txt) or directories; "
                  "inspect also takes a folder of classes of images")
      ->required();
  verb.add_option("--model", options.model,
                  "Name or GGUF file; counts its tokens");
  verb.add_option("--max-length", options.max_length,
                  "Longest example in tokens")
      ->capture_default_str();
}

}  // namespace

void AddDataInspectVerbs(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto inspect = std::make_shared<DataInspectOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "inspect",
              "Schema, lengths, and what a model would learn of the examples",
              [inspect, &output] { return Inspect(*inspect, output); });
  AddOptions(*verb, *inspect);
  verb->add_option("--show", inspect->show,
                   "Print the first N examples, what is learned in [[ ]]");
  auto stats = std::make_shared<DataInspectOptions>();
  verb = AddVerb(group, invocation, "stats", "A table of files and their sum",
                 [stats, &output] { return Stats(*stats, output); });
  AddOptions(*verb, *stats);
}

}  // namespace edgetune
