#ifndef EDGETUNE_TRAINING_TEXT_DATA_SET_H_
#define EDGETUNE_TRAINING_TEXT_DATA_SET_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "training/example_set.h"

namespace edgetune {

struct TextDataOptions {
  std::string schema = "auto";  // or one of json_example.h
  int64_t max_length = 512;     // tokens; longer examples are cut
};

// Instruction or plain-text examples of a file or a directory
// (example_files.h), tokenised in memory. Schemas:
// {"messages":[{"role","content"}]}, ShareGPT's
// {"conversations"}, {"prompt","completion"}, Alpaca's {"instruction","input",
// "output"}, {"text"}; loss on the assistant's tokens, the completion, or all
// of a text. All lines of all files have one schema; a .txt file counts as
// {"text"} and becomes blocks of max_length tokens. InvalidArgument or DataLoss
// naming file:line (kData); no usable example is InvalidArgument too.
absl::StatusOr<std::unique_ptr<ExampleSet>> ReadTextDataSet(
    const std::string& path, const ModelFile& model,
    const TextDataOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TEXT_DATA_SET_H_
