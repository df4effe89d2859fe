#ifndef EDGETUNE_TOOLS_DATA_WORDNET_H_
#define EDGETUNE_TOOLS_DATA_WORDNET_H_

// WordNet as instruction data: one client a lexicographer file, so that topics
// and sizes differ as they do between real devices (formats design, section
// 7). Needs the dictionary files of Debian's wordnet-base. Stateless.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// The 45 lexicographer files in the order of their numbers: "adj.all", ...
std::span<const std::string> WordNetTopics();

struct WordNetExample {
  std::string user;       // "Define: dog"
  std::string assistant;  // the gloss
};

struct WordNetOptions {
  std::string dictionary = "/usr/share/wordnet";
  std::vector<std::string> topics;  // names; each makes two files
  uint64_t seed = 1;
  double holdout = 0.1;
  int64_t max_examples = 0;  // a topic, after shuffling; 0: all
};

struct WordNetFile {
  std::string topic;
  std::string train, heldout;  // paths
  int64_t train_examples = 0, heldout_examples = 0;
};

// One line of data.noun and the like: its lexicographer file's number and the
// example. InvalidArgument says what is wrong with it.
struct WordNetLine {
  int topic;
  WordNetExample example;
};
absl::StatusOr<WordNetLine> ParseWordNetLine(std::string_view line);

// The `clients` topics with most synsets, largest first. kData.
absl::StatusOr<std::vector<std::string>> LargestTopics(
    const std::string& dictionary, int64_t clients);

// Writes <topic>.train.jsonl, <topic>.heldout.jsonl and the dictionary's
// licence into `directory` (made). Shuffled by seed and topic; at least one
// held-out and one training example each. kData names file:line; unknown
// topic: kUsage with "did you mean".
absl::StatusOr<std::vector<WordNetFile>> WriteWordNet(
    const WordNetOptions& options, const std::string& directory);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_DATA_WORDNET_H_
