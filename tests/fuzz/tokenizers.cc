#include "tests/fuzz/tokenizers.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "models/io/tokenizer/byte_alphabet.h"

namespace edgetune::fuzz {
namespace {

void AddToken(TokenizerData& data, std::string_view token, int32_t type) {
  data.tokens.emplace_back(token);
  data.types.push_back(type);
}

// Merges whose parts and result are there; what is no letter is a byte.
void AddMerges(TokenizerData& data) {
  constexpr std::string_view kMerges[] = {"t h", "th e",  "i n", "Ġ the",
                                          "Ġ a", "1 2",   "Ċ Ċ", "Ã ©",
                                          "' s", "in in", "Ġ Ġ", "ĠĠ ĠĠ"};
  const auto has = [&](std::string_view token) {
    return std::find(data.tokens.begin(), data.tokens.end(), token) !=
           data.tokens.end();
  };
  for (const std::string_view merge : kMerges) {
    const size_t gap = merge.find(' ');
    const std::string left(merge.substr(0, gap));
    const std::string right(merge.substr(gap + 1));
    if (!has(left) || !has(right)) continue;
    data.merges.emplace_back(merge);
    AddToken(data, left + right, 1);
  }
}

TokenizerData Make(const char* pre, std::string_view bytes) {
  TokenizerData data;
  data.pre = pre;
  AddToken(data, "<|im_start|>", 3);
  for (const char byte : bytes) {
    AddToken(data, kByteAlphabet.Utf8Of(static_cast<uint8_t>(byte)), 1);
  }
  AddMerges(data);
  AddToken(data, "<|im_end|>", 3);
  AddToken(data, "<tool>", 4);
  data.bos = 0;
  data.eos = data.padding = static_cast<int32_t>(data.tokens.size()) - 2;
  data.add_bos = data.ignore_merges = data.pre == "llama-bpe";
  data.nfc = data.pre == "qwen2";
  if (data.nfc) {
    AddToken(data, "\xC3\x9Cn", 4);
    data.after_normalizing = {static_cast<int32_t>(data.tokens.size()) - 1};
  }
  return data;
}

}  // namespace

TokenizerData SmallTokenizer(const char* pre) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte)
    bytes.push_back(static_cast<char>(byte));
  return Make(pre, bytes);
}

TokenizerData TinyTokenizer(const char* pre) {
  return Make(pre, " the\xC3\xA9");
}

}  // namespace edgetune::fuzz
