#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/data/wordnet.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct WordNetVerbOptions {
  WordNetOptions wordnet;
  int64_t clients = 0;
  std::string out = "wordnet";
};

absl::Status WordNet(WordNetVerbOptions options, const Output& output) {
  if (options.wordnet.topics.empty()) {
    if (options.clients == 0) {
      return Annotate(
          absl::InvalidArgumentError("wanted --clients N or --topics A,B,..."),
          ErrorKind::kUsage, "for example --topics noun.animal,noun.food");
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        options.wordnet.topics,
        LargestTopics(options.wordnet.dictionary, options.clients));
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<WordNetFile> files,
                            WriteWordNet(options.wordnet, options.out));
  nlohmann::json clients = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows = {
      {"topic", "train", "held-out", "file"}};
  int64_t train = 0, heldout = 0;
  for (const WordNetFile& file : files) {
    clients.push_back({{"topic", file.topic},
                       {"train", file.train},
                       {"heldout", file.heldout},
                       {"train_examples", file.train_examples},
                       {"heldout_examples", file.heldout_examples}});
    rows.push_back({file.topic, fmt::format("{}", file.train_examples),
                    fmt::format("{}", file.heldout_examples), file.train});
    train += file.train_examples;
    heldout += file.heldout_examples;
  }
  rows.push_back({fmt::format("{} topics", files.size()),
                  fmt::format("{}", train), fmt::format("{}", heldout), ""});
  return output.Finish({{"clients", clients}, {"directory", options.out}},
                       FormatTable(rows, {1, 2}));
}

}  // namespace

void AddDataVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "data", "Example data");
  AddDataInspectVerbs(*group, invocation);
  AddDataSplitVerb(*group, invocation);
  AddMnistVerb(*group, invocation);
  const Output& output = invocation.output;
  auto options = std::make_shared<WordNetVerbOptions>();
  CLI::App* verb =
      AddVerb(*group, invocation, "wordnet",
              "WordNet definitions as chat examples, one topic a client",
              [options, &output] { return WordNet(*options, output); });
  WordNetOptions& wordnet = options->wordnet;
  auto* clients = verb->add_option("--clients", options->clients,
                                   "The N topics with most examples (1-45)");
  verb->add_option("--topics", wordnet.topics, "Topics by name, with commas")
      ->delimiter(',')
      ->excludes(clients);
  verb->add_option("--out", options->out, "Directory to write")
      ->capture_default_str();
  verb->add_option("--seed", wordnet.seed, "Seed of the shuffle")
      ->capture_default_str();
  verb->add_option("--holdout", wordnet.holdout, "Share held out")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  verb->add_option("--max-examples", wordnet.max_examples,
                   "At most this many a topic")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--dict", wordnet.dictionary, "WordNet's dictionary files")
      ->capture_default_str();
}

}  // namespace edgetune
