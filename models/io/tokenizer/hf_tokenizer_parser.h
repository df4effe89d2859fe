#ifndef EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_PARSER_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "models/io/tokenizer/hf_tokenizer_config.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

// ReadHfTokenizer without the files: `tokenizer` is the text of tokenizer.json.
// Memory: the strings of the result and what is no vocabulary, no merge.
absl::StatusOr<TokenizerData> ParseHfTokenizer(
    std::string_view tokenizer, const HfTokenizerConfigs& configs);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_PARSER_H_
