#include "tools/data/wordnet.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

constexpr const char* kParts[] = {"noun", "verb", "adj", "adv"};
constexpr uint64_t kDictionaryLimit = 64 << 20;

using Examples = std::vector<WordNetExample>;

// The next field, up to a space.
std::string_view TakeField(std::string_view& rest) {
  const size_t space = rest.find(' ');
  const std::string_view field = rest.substr(0, space);
  rest = space == std::string_view::npos ? "" : rest.substr(space + 1);
  return field;
}

std::optional<int> ParseNumber(std::string_view text, int base) {
  int value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// "take_a_breath" -> "take a breath"; the syntactic marker of an adjective,
// as in "galore(ip)", goes.
std::string CleanWord(std::string_view word) {
  for (const std::string_view marker : {"(a)", "(p)", "(ip)"}) {
    if (word.size() > marker.size() &&
        word.substr(word.size() - marker.size()) == marker) {
      word.remove_suffix(marker.size());
      break;
    }
  }
  std::string clean(word);
  std::replace(clean.begin(), clean.end(), '_', ' ');
  return clean;
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

absl::Status NoDictionary(const absl::Status& status) {
  return Annotate(status, ErrorKind::kData,
                  "install it (apt install wordnet-base), or name its "
                  "directory with --dict");
}

// The examples of the wanted topics, in the order of the dictionary.
absl::StatusOr<std::map<int, Examples>> ReadDictionary(
    const std::string& dictionary, const std::set<int>& wanted) {
  std::map<int, Examples> topics;
  for (const char* part : kParts) {
    const std::string prefix = std::string(part) + ".";
    const bool needed = std::any_of(wanted.begin(), wanted.end(), [&](int t) {
      return WordNetTopics()[t].rfind(prefix, 0) == 0;
    });
    if (!needed) continue;
    const std::string path = fmt::format("{}/data.{}", dictionary, part);
    absl::StatusOr<std::string> text = ReadFile(path, kDictionaryLimit);
    if (!text.ok()) return NoDictionary(text.status());
    std::string_view rest = *text;
    for (int number = 1; !rest.empty(); ++number) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.substr(0, 2) == "  ") continue;  // the licence
      absl::StatusOr<WordNetLine> parsed = ParseWordNetLine(line);
      if (!parsed.ok()) {
        return Annotate(
            Prefix(parsed.status(), fmt::format("{}:{}", path, number)),
            ErrorKind::kData, "this is not a WordNet 3.0 dictionary file");
      }
      if (wanted.count(parsed->topic) > 0) {
        topics[parsed->topic].push_back(std::move(parsed->example));
      }
    }
  }
  return topics;
}

absl::StatusOr<int> TopicNumber(const std::string& name) {
  const auto topics = WordNetTopics();
  const auto found = std::find(topics.begin(), topics.end(), name);
  if (found != topics.end()) return static_cast<int>(found - topics.begin());
  const std::string near = ClosestWord(name, topics);
  return Annotate(
      absl::InvalidArgumentError("no WordNet topic " + name), ErrorKind::kUsage,
      near.empty() ? "topics are noun.animal, noun.food, verb.motion, ... "
                     "(edgetune data wordnet --clients 45 lists all)"
                   : "did you mean " + near + "?");
}

absl::Status WriteExamples(const std::string& path,
                           std::span<const WordNetExample> examples) {
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file,
                            AtomicFile::Create(path));
  for (const WordNetExample& example : examples) {
    const nlohmann::ordered_json line = {
        {"messages",
         {{{"role", "user"}, {"content", example.user}},
          {{"role", "assistant"}, {"content", example.assistant}}}}};
    EDGETUNE_RETURN_IF_ERROR(file->Append(line.dump() + "\n"));
  }
  return file->Commit();
}

// The dictionary's own words of licence: its first lines, without numbers.
absl::Status WriteLicence(const std::string& dictionary,
                          const std::string& part,
                          const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(
      std::string text,
      ReadFile(dictionary + "/data." + part, kDictionaryLimit));
  std::string notice =
      "The examples in this folder are made from WordNet 3.0, under this "
      "licence:\n\n";
  std::string_view rest = text;
  while (rest.substr(0, 2) == "  ") {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = Trim(rest.substr(0, end));
    TakeField(line);
    notice += std::string(Trim(line)) + "\n";
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return WriteFileAtomically(directory + "/WORDNET-LICENSE.txt", notice);
}

absl::StatusOr<WordNetFile> WriteTopic(const std::string& topic,
                                       Examples examples,
                                       const WordNetOptions& options,
                                       const std::string& directory) {
  Random(options.seed).Split("wordnet/" + topic).Shuffle(examples);
  if (options.max_examples > 0 &&
      examples.size() > static_cast<size_t>(options.max_examples)) {
    examples.resize(options.max_examples);
  }
  if (examples.size() < 2) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "topic {} has {} examples, wanted at least 2", topic,
                        examples.size())),
                    ErrorKind::kData, "choose another topic");
  }
  const int64_t all = examples.size();
  const int64_t heldout =
      std::clamp<int64_t>(std::llround(options.holdout * all), 1, all - 1);
  WordNetFile file{topic, fmt::format("{}/{}.train.jsonl", directory, topic),
                   fmt::format("{}/{}.heldout.jsonl", directory, topic),
                   all - heldout, heldout};
  const std::span<const WordNetExample> span(examples);
  EDGETUNE_RETURN_IF_ERROR(
      WriteExamples(file.train, span.first(all - heldout)));
  EDGETUNE_RETURN_IF_ERROR(WriteExamples(file.heldout, span.last(heldout)));
  return file;
}

}  // namespace

std::span<const std::string> WordNetTopics() {
  static const auto& topics = *new std::vector<std::string>{
      "adj.all",          "adj.pert",           "adv.all",
      "noun.Tops",        "noun.act",           "noun.animal",
      "noun.artifact",    "noun.attribute",     "noun.body",
      "noun.cognition",   "noun.communication", "noun.event",
      "noun.feeling",     "noun.food",          "noun.group",
      "noun.location",    "noun.motive",        "noun.object",
      "noun.person",      "noun.phenomenon",    "noun.plant",
      "noun.possession",  "noun.process",       "noun.quantity",
      "noun.relation",    "noun.shape",         "noun.state",
      "noun.substance",   "noun.time",          "verb.body",
      "verb.change",      "verb.cognition",     "verb.communication",
      "verb.competition", "verb.consumption",   "verb.contact",
      "verb.creation",    "verb.emotion",       "verb.motion",
      "verb.perception",  "verb.possession",    "verb.social",
      "verb.stative",     "verb.weather",       "adj.ppl"};
  return topics;
}

absl::StatusOr<WordNetLine> ParseWordNetLine(std::string_view line) {
  const bool ascii = std::all_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80;
  });
  if (!ascii) return absl::InvalidArgumentError("not ASCII text");
  const size_t bar = line.find(" | ");
  if (bar == std::string_view::npos) {
    return absl::InvalidArgumentError("no gloss (\" | \") in the line");
  }
  std::string_view rest = line.substr(0, bar);
  const std::string_view gloss = Trim(line.substr(bar + 3));
  TakeField(rest);  // byte offset
  const std::optional<int> topic = ParseNumber(TakeField(rest), 10);
  TakeField(rest);  // part of speech
  const std::optional<int> words = ParseNumber(TakeField(rest), 16);
  const std::string word = CleanWord(TakeField(rest));
  if (!topic || *topic < 0 ||
      *topic >= static_cast<int>(WordNetTopics().size())) {
    return absl::InvalidArgumentError(
        "the second field is no lexicographer file, wanted 00 to 44");
  }
  if (!words || *words < 1 || word.empty()) {
    return absl::InvalidArgumentError("no word in the line");
  }
  if (gloss.empty()) return absl::InvalidArgumentError("the gloss is empty");
  return WordNetLine{*topic, {"Define: " + word, std::string(gloss)}};
}

absl::StatusOr<std::vector<std::string>> LargestTopics(
    const std::string& dictionary, int64_t clients) {
  const int64_t all = WordNetTopics().size();
  if (clients < 1 || clients > all) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "--clients {}: wanted 1 to {}, one a topic", clients, all)),
        ErrorKind::kUsage);
  }
  std::set<int> wanted;
  for (int i = 0; i < all; ++i) wanted.insert(i);
  EDGETUNE_ASSIGN_OR_RETURN(auto topics, ReadDictionary(dictionary, wanted));
  std::vector<int> order(wanted.begin(), wanted.end());
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return topics[a].size() > topics[b].size();
  });
  std::vector<std::string> names;
  for (int64_t i = 0; i < clients; ++i) {
    names.push_back(WordNetTopics()[order[i]]);
  }
  return names;
}

absl::StatusOr<std::vector<WordNetFile>> WriteWordNet(
    const WordNetOptions& options, const std::string& directory) {
  std::set<int> wanted;
  for (const std::string& name : options.topics) {
    EDGETUNE_ASSIGN_OR_RETURN(const int topic, TopicNumber(name));
    if (!wanted.insert(topic).second) {
      return Annotate(
          absl::InvalidArgumentError("topic " + name + " is named twice"),
          ErrorKind::kUsage);
    }
  }
  EDGETUNE_ASSIGN_OR_RETURN(auto topics,
                            ReadDictionary(options.dictionary, wanted));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(directory));
  std::vector<WordNetFile> files;
  for (const std::string& name : options.topics) {
    EDGETUNE_ASSIGN_OR_RETURN(const int topic, TopicNumber(name));
    EDGETUNE_ASSIGN_OR_RETURN(
        WordNetFile file,
        WriteTopic(name, std::move(topics[topic]), options, directory));
    files.push_back(std::move(file));
  }
  const std::string part =
      options.topics.front().substr(0, options.topics.front().find('.'));
  EDGETUNE_RETURN_IF_ERROR(WriteLicence(options.dictionary, part, directory));
  return files;
}

}  // namespace edgetune
