#include "models/io/pre_tokenizer.h"

#include <utf8proc.h>

#include <cstdint>

#include "models/io/utf8.h"

namespace edgetune {
namespace {

// Names that GGUF files use, as llama.cpp groups them.
constexpr struct {
  std::string_view pre;
  PreTokenizer kind;
} kNames[] = {{"gpt-2", PreTokenizer::kGpt2},
              {"smollm", PreTokenizer::kSmollm},
              {"starcoder", PreTokenizer::kSmollm},
              {"refact", PreTokenizer::kSmollm},
              {"command-r", PreTokenizer::kSmollm},
              {"codeshell", PreTokenizer::kSmollm},
              {"exaone", PreTokenizer::kSmollm},
              {"llama-bpe", PreTokenizer::kLlamaBpe},
              {"llama3", PreTokenizer::kLlamaBpe},
              {"llama-v3", PreTokenizer::kLlamaBpe},
              {"qwen2", PreTokenizer::kQwen2},
              {"deepseek-r1-qwen", PreTokenizer::kQwen2}};

enum class CharClass : uint8_t { kSpace, kLetter, kNumber, kOther };

struct Char {
  size_t begin;
  int32_t code;
  CharClass kind;
};

// Unicode White_Space, which is what the expressions' \s means.
bool IsWhiteSpace(int32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

CharClass ClassOf(int32_t code) {
  if (code < 0) return CharClass::kOther;
  if (IsWhiteSpace(code)) return CharClass::kSpace;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

// With a last element at the end of the text.
std::vector<Char> CharsOf(std::string_view text) {
  std::vector<Char> chars;
  chars.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    chars.push_back({at, c.code, ClassOf(c.code)});
    at += c.length;
  }
  chars.push_back({text.size(), -1, CharClass::kOther});
  return chars;
}

// Matches at the beginning of the characters [at, end); all functions return
// where the match ends, `at` meaning none.
class Scanner {
 public:
  Scanner(PreTokenizer kind, const std::vector<Char>& chars)
      : kind_(kind), chars_(chars) {}

  size_t Next(size_t at, size_t end) const {
    end_ = end;
    return OfLlama() ? NextLlama(at) : NextGpt2(at);
  }

 private:
  bool OfLlama() const {
    return kind_ == PreTokenizer::kLlamaBpe || kind_ == PreTokenizer::kQwen2;
  }
  bool Is(size_t at, CharClass kind) const {
    return at < end_ && chars_[at].kind == kind;
  }
  bool IsCode(size_t at, int32_t code) const {
    return at < end_ && chars_[at].code == code;
  }
  bool IsNewline(size_t at) const {
    return IsCode(at, '\r') || IsCode(at, '\n');
  }
  size_t Run(size_t at, CharClass kind) const {
    while (Is(at, kind)) ++at;
    return at;
  }

  // The letter behind an apostrophe as the expression compares it; the long s
  // is the one other character that folds to a letter of the list.
  int32_t Letter(size_t at) const {
    if (at >= end_) return -1;
    const int32_t code = chars_[at].code;
    if (!OfLlama()) return code;
    if (code == 0x17F) return 's';
    return code >= 'A' && code <= 'Z' ? code + 32 : code;
  }

  // 's 't 're 've 'm 'll 'd
  size_t Contraction(size_t at) const {
    if (!IsCode(at, '\'')) return at;
    const int32_t a = Letter(at + 1), b = Letter(at + 2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
    const bool two =
        ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l');
    return two ? at + 3 : at;
  }

  // \s+(?!\S)|\s+ : all of it before the end, else all but the last one,
  // which then stands before the next word.
  size_t Spaces(size_t at) const {
    const size_t stop = Run(at, CharClass::kSpace);
    return stop == end_ || stop - at < 2 ? stop : stop - 1;
  }

  size_t NextGpt2(size_t at) const {
    if (size_t stop = Contraction(at); stop > at) return stop;
    const size_t word = IsCode(at, ' ') ? at + 1 : at;
    for (CharClass kind :
         {CharClass::kLetter, CharClass::kNumber, CharClass::kOther}) {
      if (Is(word, kind)) return Run(word, kind);
    }
    return Spaces(at);
  }

  size_t NextLlama(size_t at) const {
    if (size_t stop = Contraction(at); stop > at) return stop;
    if (Is(at, CharClass::kLetter)) return Run(at, CharClass::kLetter);
    if (!Is(at, CharClass::kNumber) && !IsNewline(at) &&
        Is(at + 1, CharClass::kLetter)) {
      return Run(at + 1, CharClass::kLetter);
    }
    if (Is(at, CharClass::kNumber)) {
      const size_t most = kind_ == PreTokenizer::kQwen2 ? 1 : 3;
      size_t stop = at + 1;
      while (stop < at + most && Is(stop, CharClass::kNumber)) ++stop;
      return stop;
    }
    const size_t symbol = IsCode(at, ' ') ? at + 1 : at;
    if (Is(symbol, CharClass::kOther)) {
      size_t stop = Run(symbol, CharClass::kOther);
      while (IsNewline(stop)) ++stop;
      return stop;
    }
    // \s*[\r\n]+ ends behind the last line break of the white space.
    for (size_t stop = Run(at, CharClass::kSpace); stop > at; --stop) {
      if (IsNewline(stop - 1)) return stop;
    }
    return Spaces(at);
  }

  const PreTokenizer kind_;
  const std::vector<Char>& chars_;
  mutable size_t end_ = 0;
};

}  // namespace

std::optional<PreTokenizer> PreTokenizerOf(std::string_view pre) {
  for (const auto& known : kNames) {
    if (known.pre == pre) return known.kind;
  }
  return std::nullopt;
}

std::vector<size_t> SplitPieces(PreTokenizer kind, std::string_view text) {
  const std::vector<Char> chars = CharsOf(text);
  const size_t n = chars.size() - 1;
  const bool digits = kind == PreTokenizer::kSmollm;
  auto alone = [&](size_t i) {
    return digits && chars[i].kind == CharClass::kNumber;
  };
  const Scanner scanner(kind, chars);
  std::vector<size_t> ends;
  for (size_t begin = 0; begin < n;) {
    size_t end = begin + 1;
    while (!alone(begin) && end < n && !alone(end)) ++end;
    for (size_t at = begin; at < end;) {
      at = scanner.Next(at, end);
      ends.push_back(chars[at].begin);
    }
    begin = end;
  }
  return ends;
}

}  // namespace edgetune
