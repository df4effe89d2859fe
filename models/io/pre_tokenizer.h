#ifndef EDGETUNE_MODELS_IO_PRE_TOKENIZER_H_
#define EDGETUNE_MODELS_IO_PRE_TOKENIZER_H_

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace edgetune {

// How text is cut into pieces before merging (formats design, section 4).
enum class PreTokenizer {
  kGpt2,      // GPT-2's expression
  kSmollm,    // each number character alone, then GPT-2's expression
  kLlamaBpe,  // Llama 3's expression
  kQwen2,     // the same, but each number character alone
};

// The scanner of a GGUF `tokenizer.ggml.pre`; nullopt when there is none.
std::optional<PreTokenizer> PreTokenizerOf(std::string_view pre);

// Ends of the pieces of `text`, which they cover without a gap. A byte that is
// not UTF-8 counts as a symbol. A pure function.
std::vector<size_t> SplitPieces(PreTokenizer kind, std::string_view text);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_PRE_TOKENIZER_H_
