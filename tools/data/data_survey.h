#ifndef EDGETUNE_TOOLS_DATA_DATA_SURVEY_H_
#define EDGETUNE_TOOLS_DATA_DATA_SURVEY_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "models/io/model_file.h"
#include "tools/progress.h"
#include "training/json_example.h"

namespace edgetune {

// What some files hold. Without a model all that counts tokens is 0.
struct DataCounts {
  int64_t examples = 0;
  int64_t messages = 0;    // of chats
  int64_t bytes = 0;       // of all strings, UTF-8
  int64_t longest = 0;     // example, bytes
  int64_t duplicates = 0;  // the same content as an example before
  int64_t tokens = 0, labelled_tokens = 0;  // before any cut
  int64_t truncated = 0;                    // longer than max_length
  int64_t label_less = 0;                   // nothing to learn after the cut
  int64_t specials_in_content = 0;

  void Add(const DataCounts& other);
};

// SHA-256 of an example's roles and strings: equal for equal content, however
// the line spells it.
std::string ContentDigest(const JsonExample& example);

// Reads files of examples once and counts. Life: Add a file..., then what it
// found. One thread; the model and `progress` must outlive it.
class DataSurvey {
 public:
  // `model` may be null. `keep` first examples are rendered.
  DataSurvey(const ModelFile* model, int64_t max_length, size_t keep,
             Progress& progress);

  // The counts of this file. Every file has the same schema. kData names
  // file:line; kFailed: interrupted.
  absl::StatusOr<DataCounts> Add(const std::string& file);

  std::string schema() const;
  // Tokens of every example before the cut, sorted.
  std::vector<int64_t> SortedLengths() const;
  // The first examples as they are learned: text with the special tokens,
  // labelled parts between [[ and ]] (without a model: the strings).
  const std::vector<std::string>& rendered() const { return rendered_; }

 private:
  absl::Status AddExample(const JsonExample& example);
  absl::Status AddText(const std::string& file);
  void AddTokens(LabelledTokens example);
  bool Repeated(const JsonExample& example);
  std::string Render(const LabelledTokens& example) const;

  const ModelFile* const model_;
  const int64_t max_length_;
  const size_t keep_;
  Progress& progress_;
  uint64_t bytes_before_ = 0;  // of files that are done
  std::optional<TextSchema> schema_;
  DataCounts counts_;  // of the file that is read now
  std::vector<int64_t> lengths_;
  std::set<std::string> seen_;
  std::vector<std::string> rendered_;
};

nlohmann::json CountsJson(const DataCounts& counts, bool tokens);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_DATA_DATA_SURVEY_H_
