#ifndef EDGETUNE_MODELS_IO_TOKENIZER_TOKENIZER_H_
#define EDGETUNE_MODELS_IO_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// What a token is, by the numbers of GGUF.
inline constexpr int32_t kNormalType = 1, kUnknownType = 2;
inline constexpr int32_t kControlType = 3, kUserType = 4;

// What a model file says about its byte-level BPE tokenizer.
struct TokenizerData {
  std::string pre;  // "smollm", "gpt-2", ... (formats design, section 4)
  std::vector<std::string> tokens;  // byte-level alphabet
  std::vector<int32_t> types;       // kNormalType and so on
  std::vector<std::string> merges;  // "Ġ t", strongest first
  int32_t bos = -1, eos = -1, unknown = -1, padding = -1;
  bool add_bos = false;
  bool ignore_merges = false;  // a whole piece that is a token is that token
  bool nfc = false;            // text is brought to NFC first
  // Control and user tokens (2, 3, 4) that are sought in normalised text, in
  // what the others left; ascending ids. GGUF knows none.
  std::vector<int32_t> after_normalizing;
};

// Byte-level BPE (Sennrich et al. 2016; GPT-2's byte alphabet). Immutable,
// thread-safe. Bytes without a token are dropped, as the reference does.
class Tokenizer {
 public:
  // A token of an encoded text and the bytes [begin, end) it stands for.
  struct Piece {
    int32_t id;
    size_t begin, end;
  };

  // InvalidArgument: unknown `pre`, duplicate token, a merge of unknown
  // tokens, ids out of range.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Make(TokenizerData data);
  virtual ~Tokenizer() = default;

  // With parse_special, the text of a control token becomes that token;
  // without, it is plain text. BOS is never added here (see add_bos).
  virtual std::vector<int32_t> Encode(std::string_view text,
                                      bool parse_special) const = 0;
  virtual std::vector<Piece> EncodeWithOffsets(std::string_view text,
                                               bool parse_special) const = 0;
  // Bytes of the tokens; control tokens are left out unless keep_special.
  // Ids outside the vocabulary are left out.
  virtual std::string Decode(std::span<const int32_t> ids,
                             bool keep_special = false) const = 0;

  // What it was made of.
  virtual const TokenizerData& data() const = 0;
  virtual int64_t size() const = 0;
  virtual int32_t bos() const = 0;
  virtual int32_t eos() const = 0;
  virtual bool add_bos() const = 0;
  virtual bool IsControl(int32_t id) const = 0;
  // -1 when there is no such token.
  virtual int32_t IdOf(std::string_view token) const = 0;
};

// Turns a stream of token bytes into valid UTF-8 as early as possible: holds
// back an incomplete character, replaces invalid bytes by U+FFFD. One thread.
class Utf8Stream {
 public:
  std::string Push(std::string_view bytes);
  std::string Finish();  // whatever is held back, as U+FFFD

 private:
  std::string pending_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TOKENIZER_TOKENIZER_H_
