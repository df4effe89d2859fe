#ifndef EDGETUNE_TRAINING_TEXT_DATA_SET_H_
#define EDGETUNE_TRAINING_TEXT_DATA_SET_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "training/example_source.h"

namespace edgetune {

struct TextDataOptions {
  std::string schema = "auto";  // or one of json_example.h
  int64_t max_length = 512;     // tokens; longer examples are cut
};

struct TextDataReport {
  std::string schema;      // detected
  int64_t examples = 0;    // usable
  int64_t truncated = 0;   // cut to max_length
  int64_t label_less = 0;  // left out: no labelled token (after the cut)
  int64_t specials_in_content = 0;  // "<|im_start|>" and the like, as text
  int64_t labelled_tokens = 0;
};
// What of it a user should know about, "; 3 cut, ...", or "".
std::string RemarksOf(const TextDataReport& report);

// Instruction or plain-text examples of a file or a directory
// (example_files.h), tokenised in memory. Schemas:
// {"messages":[{"role","content"}]}, ShareGPT's
// {"conversations"}, {"prompt","completion"}, Alpaca's {"instruction","input",
// "output"}, {"text"}; loss on the assistant's tokens, the completion, or all
// of a text. All lines of all files have one schema; a .txt file counts as
// {"text"} and becomes blocks of max_length tokens.
class TextDataSet final : public ExampleSource {
 public:
  // InvalidArgument or DataLoss naming file:line (kData); no usable example is
  // InvalidArgument too.
  static absl::StatusOr<std::unique_ptr<TextDataSet>> Read(
      const std::string& path, const ModelFile& model,
      const TextDataOptions& options);

  int64_t size() const override;
  const LabelledTokens& Get(int64_t index) const override;
  const TextDataReport& report() const { return report_; }
  // Which of the examples (or blocks) that were read this one is, from 0:
  // those without a label were left out.
  int64_t PositionOf(int64_t index) const;

  // The examples with these indices, in this order.
  std::unique_ptr<TextDataSet> Select(std::span<const size_t> indices) const;
  // The same places with other examples in them, as many and in this order.
  std::unique_ptr<TextDataSet> WithExamples(
      std::vector<LabelledTokens> examples) const;
  // {to train on, held out}: the last round(fraction * size) examples of a
  // seeded shuffle are held out; both have at least one example unless
  // fraction is 0 or there is but one (then nothing is held out).
  std::pair<std::unique_ptr<TextDataSet>, std::unique_ptr<TextDataSet>> Split(
      double fraction, uint64_t seed) const;

 private:
  std::vector<LabelledTokens> examples_;
  std::vector<int64_t> positions_;  // of examples_, in what was read
  TextDataReport report_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TEXT_DATA_SET_H_
