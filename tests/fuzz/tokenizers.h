#ifndef EDGETUNE_TESTS_FUZZ_TOKENIZERS_H_
#define EDGETUNE_TESTS_FUZZ_TOKENIZERS_H_

#include <array>

#include "models/io/tokenizer/tokenizer.h"

namespace edgetune::fuzz {

inline constexpr std::array kPreTokenizers = {"gpt-2", "smollm", "llama-bpe",
                                              "qwen2"};

// A tokenizer with a token for every byte, some merges, control and user
// tokens; `pre` is one of kPreTokenizers, whose usual flags it has.
TokenizerData SmallTokenizer(const char* pre);

// The same with few bytes, for short files.
TokenizerData TinyTokenizer(const char* pre);

}  // namespace edgetune::fuzz

#endif  // EDGETUNE_TESTS_FUZZ_TOKENIZERS_H_
