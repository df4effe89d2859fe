#ifndef EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_H_

// Byte-level BPE tokenizers in the files of Hugging Face (formats design,
// sections 2 and 4). The file is obeyed: what it says and this project does
// not do is refused by name, never guessed.

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

// Reads tokenizer.json and, where they are, tokenizer_config.json and, for
// special ids the latter leaves open, config.json and generation_config.json.
// `pre` is the scanner that the pre_tokenizer's stages amount to. Truncation
// and padding are left to the caller, as transformers does.
// Annotated ErrorKind::kModel: NotFound: no tokenizer.json. DataLoss: not
// JSON, a key twice. InvalidArgument: another model than byte-level BPE, a
// stage or flag that would change ids, files that contradict one another.
absl::StatusOr<TokenizerData> ReadHfTokenizer(const std::string& directory);

// The bytes of tokenizer.json and tokenizer_config.json, by file name, which
// `tokenizers` and transformers load and which encode as Tokenizer::Make(data)
// with parse_special. An empty template is left out; so is the name of a
// special token that is a normal one (config.json has its id). InvalidArgument:
// `pre` unknown, token types missing, a token that is not UTF-8.
absl::StatusOr<std::map<std::string, std::string>> HfTokenizerFiles(
    const TokenizerData& data, const std::string& chat_template_source);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_HF_TOKENIZER_H_
