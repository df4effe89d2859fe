#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/child_process.h"
#include "tools/data/data_split.h"
#include "tools/progress.h"
#include "tools/verbs.h"
#include "training/example_files.h"

namespace edgetune {
namespace {

struct SplitVerbOptions {
  SplitOptions split;
  int64_t clients = 0;
  std::string by = "iid";
};

absl::StatusOr<SplitOptions> Resolve(const SplitVerbOptions& options) {
  using enum PartitionOptions::By;
  SplitOptions split = options.split;
  split.partition.by = options.by == "iid"     ? kIid
                       : options.by == "field" ? kField
                                               : kDirichlet;
  split.one_set = options.clients == 0;
  if (!split.one_set) {
    split.partition.clients = static_cast<size_t>(options.clients);
  }
  const bool by_value = split.partition.by != kIid;
  if (by_value && split.field.empty()) {
    return UsageError("--by " + options.by + " wants --field NAME",
                      "for example --field topic");
  }
  if (!by_value && !split.field.empty()) {
    return UsageError("--field is of no use with --by iid",
                      "add --by field or --by dirichlet");
  }
  if (split.partition.by == kDirichlet && split.one_set) {
    return UsageError("--by dirichlet wants --clients N");
  }
  return split;
}

std::string PartValue(const SplitPart& part) {
  return part.values == 1 ? part.value : fmt::format("{} values", part.values);
}

nlohmann::json PartJson(const SplitPart& part, bool by_field) {
  nlohmann::json json = {{"train", part.train},
                         {"train_examples", part.train_examples},
                         {"heldout_examples", part.heldout_examples}};
  if (!part.heldout.empty()) json["heldout"] = part.heldout;
  if (by_field) json["value"] = PartValue(part);
  return json;
}

absl::Status Tell(const SplitOptions& split, const SplitResult& result,
                  const Output& output) {
  const bool by_field = !split.field.empty();
  nlohmann::json parts = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows;
  const auto add_row = [&](const std::string& name, const std::string& train,
                           const std::string& held, const std::string& value) {
    rows.push_back({name, train, held});
    if (by_field) rows.back().push_back(value);
  };
  add_row("file", "train", "held-out", split.field);
  int64_t train = 0, heldout = 0;
  for (const SplitPart& part : result.parts) {
    parts.push_back(PartJson(part, by_field));
    add_row(part.train, fmt::format("{}", part.train_examples),
            fmt::format("{}", part.heldout_examples), PartValue(part));
    train += part.train_examples;
    heldout += part.heldout_examples;
  }
  add_row("total, " + result.schema, fmt::format("{}", train),
          fmt::format("{}", heldout), "");
  std::string text = FormatTable(rows, {1, 2});
  if (result.leaked > 0) {
    text += fmt::format(
        "{} of {} held-out examples stand word for word in a train file\n",
        result.leaked, heldout);
  }
  return output.Finish({{"directory", split.out},
                        {"schema", result.schema},
                        {"parts", parts},
                        {"train_examples", train},
                        {"heldout_examples", heldout},
                        {"heldout_also_in_train", result.leaked}},
                       text);
}

absl::Status Split(const SplitVerbOptions& options, const Output& output) {
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(const SplitOptions split, Resolve(options));
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn(split.files));
  SplitResult result;
  {
    Progress progress(output, "read", TotalBytes(files),
                      Progress::Unit::kBytes);
    EDGETUNE_ASSIGN_OR_RETURN(result, SplitExamples(split, [&](uint64_t bytes) {
                                progress.Update(bytes);
                              }));
  }
  return Tell(split, result, output);
}

}  // namespace

void AddDataSplitVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<SplitVerbOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "split",
              "Train and held-out files, for one device or for many",
              [options, &output] { return Split(*options, output); });
  SplitOptions& split = options->split;
  verb->add_option("files", split.files, "Files of JSON lines, or directories")
      ->required();
  verb->add_option("--out", split.out, "Directory to write, a new one")
      ->required();
  verb->add_option("--holdout", split.holdout, "Share held out; 0: none")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  verb->add_option("--clients", options->clients,
                   "Deal out to N clients (default: one set; with --by field, "
                   "one client a value)")
      ->check(CLI::Range(1, 100000));
  verb->add_option("--by", options->by, "iid, field or dirichlet")
      ->check(CLI::IsMember({"iid", "field", "dirichlet"}))
      ->capture_default_str();
  verb->add_option("--field", split.field,
                   "Key whose values --by field and --by dirichlet go by");
  verb->add_option("--alpha", split.partition.alpha,
                   "Of --by dirichlet: 0.1 very uneven, 100 nearly even")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  verb->add_option("--seed", split.partition.seed, "Of the shuffles")
      ->capture_default_str();
}

}  // namespace edgetune
