#ifndef EDGETUNE_TRAINING_EXAMPLE_ENCODER_H_
#define EDGETUNE_TRAINING_EXAMPLE_ENCODER_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "training/json_example.h"

namespace edgetune {

// All of an example's tokens with the loss marks: the assistant's messages, the
// completion, or all of a text (formats design, section 5). Nothing is cut.
absl::StatusOr<LabelledTokens> EncodeExample(const ModelFile& model,
                                             const JsonExample& example);

// Special tokens of the model that stand in the strings, as text.
int64_t SpecialsInContent(const Tokenizer& tokenizer,
                          const JsonExample& example);

// Cuts texts into blocks, each an example of its own of which every token is
// labelled; a block never holds parts of two texts, so that attention never
// crosses from one into another (decision 5). One thread.
class TextBlocks {
 public:
  // At most `length` tokens a block (>= 2), a beginning-of-text token included
  // where the model wants one.
  TextBlocks(const Tokenizer& tokenizer, int64_t length);

  // Blocks that this part of the running text completes.
  std::vector<LabelledTokens> Add(std::string_view part);
  // The last block of the text, shorter (or none). The next part begins
  // another text.
  std::vector<LabelledTokens> EndText();

 private:
  LabelledTokens Block(std::span<const int32_t> ids) const;

  const Tokenizer& tokenizer_;
  const size_t room_;  // tokens of text a block
  std::vector<int32_t> waiting_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_EXAMPLE_ENCODER_H_
