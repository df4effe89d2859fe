// Any bytes as text, under each pre-tokenizer. Input: a byte that chooses it
// and whether special tokens are parsed, then the text.

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "models/io/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/tokenizers.h"

namespace edgetune::fuzz {
namespace {

const Tokenizer& TokenizerOf(size_t kind) {
  static const auto* const all = [] {
    auto* out = new std::vector<std::unique_ptr<Tokenizer>>;
    for (const char* pre : kPreTokenizers) {
      out->push_back(std::move(Tokenizer::Make(SmallTokenizer(pre))).value());
    }
    return out;
  }();
  return *(*all)[kind];
}

void CheckPieces(const Tokenizer& tokenizer, std::string_view text,
                 const std::vector<Tokenizer::Piece>& pieces) {
  size_t end = 0;
  for (const Tokenizer::Piece& piece : pieces) {
    Require(piece.begin < piece.end && piece.end <= text.size(),
            "a piece lies in the text");
    // Pieces of one run that NFC changed all stand for the whole run.
    Require(piece.begin == end || (tokenizer.data().nfc && piece.begin <= end),
            "no gap between pieces");
    end = std::max(end, piece.end);
  }
  Require(end == text.size(), "nothing is left behind");
}

void CheckStream(std::string_view text) {
  Utf8Stream whole, parts;
  std::string wanted = whole.Push(text);
  wanted += whole.Finish();  // in one expression nothing says which comes first
  std::string got;
  for (size_t at = 0, step = 1; at < text.size();
       at += step, step = step % 5 + 1) {
    got += parts.Push(text.substr(at, step));
  }
  got += parts.Finish();
  Require(got == wanted, "a stream's text does not depend on its parts");
  for (std::string_view rest = got; !rest.empty();) {
    const Utf8Char c = DecodeUtf8(rest);
    Require(c.code >= 0, "a stream gives valid UTF-8");
    rest.remove_prefix(c.length);
  }
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  if (size == 0) return 0;
  const bool special = (data[0] & 4) != 0;
  const Tokenizer& tokenizer = TokenizerOf(data[0] & 3);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1,
                              size - 1);
  const auto pieces = tokenizer.EncodeWithOffsets(text, special);
  const std::vector<int32_t> ids = tokenizer.Encode(text, special);
  CheckPieces(tokenizer, text, pieces);
  Require(std::equal(ids.begin(), ids.end(), pieces.begin(), pieces.end(),
                     [](int32_t id, const auto& p) { return p.id == id; }),
          "both ways to encode agree");
  for (const int32_t id : ids) {
    Require(special || !tokenizer.IsControl(id), "plain text stays text");
  }
  if (!tokenizer.data().nfc) {
    Require(tokenizer.Decode(ids, true) == text, "decoding undoes encoding");
  }
  CheckStream(text);
  return 0;
}
