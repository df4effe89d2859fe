#include "models/io/tokenizer/pre_tokenizer.h"

#include <utf8proc.h>

#include "base/utf8.h"

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

// Unicode White_Space, which is what the expressions' \s means.
bool IsWhiteSpace(int32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsNewline(int32_t code) { return code == '\r' || code == '\n'; }

// As a comparison without case sees it; the long s is the one other character
// that folds to a letter of the contractions.
int32_t Folded(int32_t code) {
  if (code == 0x17F) return 's';
  return code >= 'A' && code <= 'Z' ? code + 32 : code;
}

}  // namespace

std::optional<PreTokenizer> PreTokenizerOf(std::string_view pre) {
  for (const auto& known : kNames) {
    if (known.pre == pre) return known.kind;
  }
  return std::nullopt;
}

PieceCutter::PieceCutter(PreTokenizer kind, std::string_view text)
    : kind_(kind),
      llama_(kind == PreTokenizer::kLlamaBpe || kind == PreTokenizer::kQwen2),
      text_(text) {}

PieceCutter::Class PieceCutter::ClassOf(int32_t code) {
  if (code < 0) return Class::kOther;
  if (IsWhiteSpace(code)) return Class::kSpace;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return Class::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return Class::kNumber;
    default:
      return Class::kOther;
  }
}

PieceCutter::Char PieceCutter::Decode(size_t at) const {
  struct AsciiClasses {
    Class of[128];
    AsciiClasses() {
      for (int32_t c = 0; c < 128; ++c) of[c] = ClassOf(c);
    }
  };
  static const AsciiClasses ascii;
  if (at >= text_.size()) return {Class::kEnd, -1, 0};
  const auto byte = static_cast<uint8_t>(text_[at]);
  if (byte < 128) return {ascii.of[byte], byte, 1};
  const Utf8Char c = DecodeUtf8(text_.substr(at));
  return {ClassOf(c.code), c.code, c.length};
}

// To what stands before it, a number that stays alone is the end of the text.
PieceCutter::Char PieceCutter::At(size_t at) const {
  Char c = Decode(at);
  if (c.kind == Class::kNumber && kind_ == PreTokenizer::kSmollm) {
    c.kind = Class::kEnd;
  }
  return c;
}

// All functions below match at `at` and return where the match ends, `at`
// meaning none.

size_t PieceCutter::Run(size_t at, Class kind) const {
  for (Char c = At(at); c.kind == kind; c = At(at)) at += c.length;
  return at;
}

// 's 't 're 've 'm 'll 'd; of any case in Llama's family.
size_t PieceCutter::Contraction(size_t at) const {
  if (at >= text_.size() || text_[at] != '\'') return at;
  const Char first = At(at + 1);
  const size_t end = at + 1 + first.length;
  const int32_t a = llama_ ? Folded(first.code) : first.code;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return end;
  if (a != 'r' && a != 'v' && a != 'l') return at;
  const int32_t b = llama_ ? Folded(At(end).code) : At(end).code;
  return b == (a == 'l' ? 'l' : 'e') ? end + 1 : at;
}

// \s+(?!\S)|\s+ : all of it before the end, else all but the last one, which
// then stands before the next word. With `to_newline` first \s*[\r\n]+, which
// ends behind the last line break of the white space.
size_t PieceCutter::Spaces(size_t at, bool to_newline) const {
  size_t stop = at, last = at, newline = at;
  Char c = At(at);
  for (; c.kind == Class::kSpace; c = At(stop)) {
    last = stop;
    stop += c.length;
    if (IsNewline(c.code)) newline = stop;
  }
  if (to_newline && newline > at) return newline;
  return c.kind == Class::kEnd || last == at ? stop : last;
}

size_t PieceCutter::NextGpt2(size_t at) const {
  if (const size_t stop = Contraction(at); stop > at) return stop;
  const size_t word = text_[at] == ' ' ? at + 1 : at;
  const Class kind = At(word).kind;
  if (kind == Class::kSpace || kind == Class::kEnd) return Spaces(at, false);
  return Run(word, kind);
}

size_t PieceCutter::NextLlama(size_t at) const {
  if (const size_t stop = Contraction(at); stop > at) return stop;
  const Char c = At(at);
  size_t stop = at + c.length;
  if (c.kind == Class::kLetter) return Run(stop, Class::kLetter);
  if (c.kind == Class::kNumber) {
    const int most = kind_ == PreTokenizer::kQwen2 ? 1 : 3;
    for (int count = 1; count < most; ++count) {
      const Char next = At(stop);
      if (next.kind != Class::kNumber) break;
      stop += next.length;
    }
    return stop;
  }
  if (!IsNewline(c.code) && At(stop).kind == Class::kLetter) {
    return Run(stop, Class::kLetter);
  }
  const size_t symbol = c.code == ' ' ? stop : at;
  if (At(symbol).kind != Class::kOther) return Spaces(at, true);
  stop = Run(symbol, Class::kOther);
  while (IsNewline(At(stop).code)) ++stop;
  return stop;
}

size_t PieceCutter::Next() {
  const Char c = Decode(at_);
  if (c.kind == Class::kEnd) return at_;
  if (c.kind == Class::kNumber && kind_ == PreTokenizer::kSmollm) {
    return at_ += c.length;
  }
  return at_ = llama_ ? NextLlama(at_) : NextGpt2(at_);
}

}  // namespace edgetune
