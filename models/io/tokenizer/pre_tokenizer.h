#ifndef EDGETUNE_MODELS_IO_TOKENIZER_PRE_TOKENIZER_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_PRE_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

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

// Cuts a text into pieces that cover it without a gap. \s is Unicode's
// White_Space, \p{L} and \p{N} the categories L* and N*; a byte that is not
// UTF-8 counts as a symbol. Allocates nothing. One thread.
class PieceCutter {
 public:
  // `text` must outlive the cutter.
  PieceCutter(PreTokenizer kind, std::string_view text);

  // Where the next piece ends, in bytes; text.size() again and again at last.
  size_t Next();

 private:
  enum class Class : uint8_t { kSpace, kLetter, kNumber, kOther, kEnd };
  struct Char {
    Class kind;
    int32_t code;  // -1: ill-formed, or the end
    size_t length;
  };

  static Class ClassOf(int32_t code);
  Char Decode(size_t at) const;
  Char At(size_t at) const;
  size_t Run(size_t at, Class kind) const;
  size_t Contraction(size_t at) const;
  size_t Spaces(size_t at, bool to_newline) const;
  size_t NextGpt2(size_t at) const;
  size_t NextLlama(size_t at) const;

  const PreTokenizer kind_;
  const bool llama_;  // of Llama's family
  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_PRE_TOKENIZER_H_
