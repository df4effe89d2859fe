// A tokenizer.json of others: what is accepted is written again and means the
// same. Input: the texts of tokenizer.json, tokenizer_config.json, config.json
// and generation_config.json, a zero byte between them.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "models/io/tokenizer/hf_tokenizer.h"
#include "models/io/tokenizer/hf_tokenizer_parser.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

constexpr std::string_view kText =
    "<|im_start|>The 12 ca\xC3\xA9s'S\n\n  e\xCC\x81 <tool>\xFF!\t<|im_end|>";

std::array<std::string_view, 4> SplitInput(std::string_view input) {
  std::array<std::string_view, 4> parts;
  for (std::string_view& part : parts) {
    part = input.substr(0, input.find('\0'));
    input.remove_prefix(std::min(input.size(), part.size() + 1));
  }
  return parts;
}

void RequireSameAgain(const TokenizerData& data, const Tokenizer& tokenizer) {
  const auto files = HfTokenizerFiles(data, "{{ chat }}");
  Require(files.ok(), "what was read can be written");
  const auto again =
      ParseHfTokenizer(files->at("tokenizer.json"),
                       {files->at("tokenizer_config.json"), "", ""});
  Require(again.ok(), "and read again");
  Require(again->tokens == data.tokens && again->types == data.types &&
              again->merges == data.merges && again->pre == data.pre,
          "as the same vocabulary");
  const auto other = Tokenizer::Make(*again);
  Require(other.ok(), "which can be used");
  const auto ids = tokenizer.Encode(kText, true);
  Require((*other)->Encode(kText, true) == ids, "and makes the same tokens");
  for (const int32_t id : ids) {
    Require(id >= 0 && id < tokenizer.size(), "ids of the vocabulary");
  }
  tokenizer.Decode(ids, true);
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;  // NOLINT
  const auto parts =
      fuzz::SplitInput({reinterpret_cast<const char*>(data), size});
  const auto read = ParseHfTokenizer(parts[0], {parts[1], parts[2], parts[3]});
  if (!read.ok()) return 0;
  const auto tokenizer = Tokenizer::Make(*read);
  if (tokenizer.ok()) fuzz::RequireSameAgain(*read, **tokenizer);
  return 0;
}
