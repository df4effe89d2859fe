#include "models/io/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "base/utf8.h"
#include "models/io/tokenizer/byte_alphabet.h"
#include "models/io/tokenizer/nfc.h"
#include "models/io/tokenizer/pair_merger.h"
#include "models/io/tokenizer/pre_tokenizer.h"
#include "models/io/tokenizer/token_finder.h"

namespace edgetune {
namespace {

// The bytes that a token's text stands for; nullopt for a text with a character
// outside the alphabet, which stands for itself.
std::optional<std::string> BytesOf(std::string_view token) {
  std::string out;
  for (std::string_view rest = token; !rest.empty();) {
    const Utf8Char c = DecodeUtf8(rest);
    const int32_t byte = kByteAlphabet.ByteOf(c.code);
    if (byte < 0) return std::nullopt;
    out.push_back(static_cast<char>(byte));
    rest.remove_prefix(c.length);
  }
  return out;
}

class BytePairTokenizer final : public Tokenizer {
 public:
  explicit BytePairTokenizer(TokenizerData data)
      : data_(std::move(data)), alone_(data_.tokens.size()) {}

  absl::Status Prepare() {
    const auto pre = PreTokenizerOf(data_.pre);
    if (!pre.has_value()) {
      return absl::InvalidArgumentError(fmt::format(
          "pre-tokenizer '{}' is not known; smollm, gpt-2, llama-bpe and "
          "qwen2 are",
          data_.pre));
    }
    pre_ = *pre;
    EDGETUNE_RETURN_IF_ERROR(CheckSizes());
    EDGETUNE_RETURN_IF_ERROR(IndexTokens());
    IndexLiterals();
    return IndexMerges();
  }

  std::vector<int32_t> Encode(std::string_view text,
                              bool parse_special) const override {
    std::vector<int32_t> ids;
    const std::vector<Piece> pieces = EncodeWithOffsets(text, parse_special);
    ids.reserve(pieces.size());
    for (const Piece& piece : pieces) ids.push_back(piece.id);
    return ids;
  }

  std::vector<Piece> EncodeWithOffsets(std::string_view text,
                                       bool parse_special) const override {
    Encoding encoding{parse_special ? 1 : 0, {}, {}};
    const TokenFinder& finder = finders_[0][encoding.special];
    for (size_t at = 0; at < text.size();) {
      const TokenFinder::Match token = finder.Find(text, at);
      EncodeRaw(text.substr(at, token.begin - at), at, &encoding);
      if (token.id >= 0) {
        encoding.pieces.push_back({token.id, token.begin, token.end});
      }
      at = token.end;
    }
    return std::move(encoding.pieces);
  }

  std::string Decode(std::span<const int32_t> ids,
                     bool keep_special) const override {
    std::string out;
    for (int32_t id : ids) {
      if (id < 0 || id >= size() || (IsControl(id) && !keep_special)) continue;
      out += bytes_[id];
    }
    return out;
  }

  const TokenizerData& data() const override { return data_; }
  int64_t size() const override {
    return static_cast<int64_t>(data_.tokens.size());
  }
  int32_t bos() const override { return data_.bos; }
  int32_t eos() const override { return data_.eos; }
  bool add_bos() const override { return data_.add_bos; }
  bool IsControl(int32_t id) const override {
    return id >= 0 && id < size() && data_.types[id] == kControlType;
  }
  int32_t IdOf(std::string_view token) const override {
    auto it = ids_.find(token);
    return it == ids_.end() ? -1 : it->second;
  }

 private:
  // What one call works on.
  struct Encoding {
    int special;  // 1: control tokens are parsed
    std::vector<Piece> pieces;
    PairMerger::Workspace work;
  };
  // Whether a token's bytes, merged, become that token.
  enum Alone : uint8_t { kUntried = 0, kYes, kNo };

  absl::Status CheckSizes() const {
    if (data_.tokens.empty() ||
        data_.tokens.size() > std::numeric_limits<int32_t>::max()) {
      return absl::InvalidArgumentError("the tokenizer has no usable tokens");
    }
    if (data_.types.size() != data_.tokens.size()) {
      return absl::InvalidArgumentError(
          fmt::format("the tokenizer has {} token types, wanted one for each "
                      "of {} tokens",
                      data_.types.size(), data_.tokens.size()));
    }
    for (int32_t id : {data_.bos, data_.eos, data_.unknown, data_.padding}) {
      if (id >= -1 && id < size()) continue;
      return absl::InvalidArgumentError(fmt::format(
          "special token id {} is outside the vocabulary of {}", id, size()));
    }
    return absl::OkStatus();
  }

  bool IsLiteral(int32_t id) const {
    const int32_t type = data_.types[id];
    return type == kControlType || type == kUserType || type == kUnknownType;
  }

  absl::Status IndexTokens() {
    ids_.reserve(data_.tokens.size());
    whole_.reserve(data_.tokens.size());
    bytes_.reserve(data_.tokens.size());
    for (int32_t id = 0; id < size(); ++id) {
      const std::string& token = data_.tokens[id];
      const auto [first, inserted] = ids_.emplace(token, id);
      if (!inserted) {
        return absl::InvalidArgumentError(
            fmt::format("tokens {} and {} of the tokenizer are the same",
                        first->second, id));
      }
      auto bytes = IsLiteral(id) ? std::nullopt : BytesOf(token);
      bytes_.push_back(bytes.value_or(token));
      if (bytes.has_value()) whole_.emplace(bytes_.back(), id);
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = IdOf(kByteAlphabet.Utf8Of(static_cast<uint8_t>(byte)));
    }
    return absl::OkStatus();
  }

  void IndexLiterals() {
    const auto& late = data_.after_normalizing;
    for (int32_t id = 0; id < size(); ++id) {
      if (!IsLiteral(id) || data_.tokens[id].empty()) continue;
      auto& finders =
          finders_[std::binary_search(late.begin(), late.end(), id)];
      finders[1].Add(data_.tokens[id], id);
      if (data_.types[id] == kUserType) finders[0].Add(data_.tokens[id], id);
    }
  }

  absl::Status IndexMerges() {
    merger_.Reserve(data_.merges.size());
    std::string joined;
    for (size_t rank = 0; rank < data_.merges.size(); ++rank) {
      const std::string_view merge = data_.merges[rank];
      const size_t gap = merge.find(' ');
      const std::string_view left = merge.substr(0, gap);
      const std::string_view right =
          gap == merge.npos ? std::string_view() : merge.substr(gap + 1);
      joined.assign(left).append(right);
      const int32_t a = IdOf(left), b = IdOf(right), id = IdOf(joined);
      if (a < 0 || b < 0 || id < 0) {
        return absl::InvalidArgumentError(fmt::format(
            "merge {} of the tokenizer names a token that is not in the "
            "vocabulary",
            rank));
      }
      merger_.Add(a, b, static_cast<int32_t>(rank), id);
    }
    return absl::OkStatus();
  }

  // `raw` begins at `offset` in the text of the call.
  void EncodeRaw(std::string_view raw, size_t offset,
                 Encoding* encoding) const {
    if (!data_.nfc) return EncodeNormalised(raw, offset, encoding);
    const NfcText normalised(raw);
    const size_t first = encoding->pieces.size();
    EncodeNormalised(normalised.text(), 0, encoding);
    for (size_t i = first; i < encoding->pieces.size(); ++i) {
      Piece& piece = encoding->pieces[i];
      piece.begin = offset + normalised.RawBegin(piece.begin);
      piece.end = offset + normalised.RawEnd(piece.end);
    }
  }

  void EncodeNormalised(std::string_view text, size_t offset,
                        Encoding* encoding) const {
    const TokenFinder& finder = finders_[1][encoding->special];
    for (size_t at = 0; at < text.size();) {
      const TokenFinder::Match token = finder.Find(text, at);
      const std::string_view plain = text.substr(at, token.begin - at);
      PieceCutter cutter(pre_, plain);
      for (size_t from = 0, to; from < plain.size(); from = to) {
        to = cutter.Next();
        EncodePiece(plain.substr(from, to - from), offset + at + from,
                    encoding);
      }
      if (token.id >= 0) {
        encoding->pieces.push_back(
            {token.id, offset + token.begin, offset + token.end});
      }
      at = token.end;
    }
  }

  void EncodePiece(std::string_view piece, size_t offset,
                   Encoding* encoding) const {
    const auto whole = whole_.find(piece);
    if (whole != whole_.end() &&
        (data_.ignore_merges || IsAlone(whole->second, encoding))) {
      encoding->pieces.push_back(
          {whole->second, offset, offset + piece.size()});
      return;
    }
    Merge(piece, &encoding->work);
    const auto& symbols = encoding->work.symbols();
    for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
      encoding->pieces.push_back(
          {symbols[i].id, offset + symbols[i].begin, offset + symbols[i].end});
    }
  }

  void Merge(std::string_view piece, PairMerger::Workspace* work) const {
    work->Clear();
    for (size_t i = 0; i < piece.size(); ++i) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(piece[i])];
      if (id >= 0) work->Add(id, i, i + 1);
    }
    merger_.Merge(work);
  }

  // Most words are one token; each is tried once.
  bool IsAlone(int32_t id, Encoding* encoding) const {
    uint8_t known = alone_[id].load(std::memory_order_relaxed);
    if (known == kUntried) {
      Merge(bytes_[id], &encoding->work);
      const auto& symbols = encoding->work.symbols();
      const bool alone = !symbols.empty() && symbols[0].id == id &&
                         symbols[0].next < 0 &&
                         symbols[0].end == bytes_[id].size();
      known = alone ? kYes : kNo;
      alone_[id].store(known, std::memory_order_relaxed);
    }
    return known == kYes;
  }

  const TokenizerData data_;
  PreTokenizer pre_ = PreTokenizer::kGpt2;
  std::vector<std::string> bytes_;  // what each token decodes to
  absl::flat_hash_map<std::string_view, int32_t> ids_;    // by token
  absl::flat_hash_map<std::string_view, int32_t> whole_;  // by bytes_
  // [1: after normalising][1: control tokens too].
  std::array<std::array<TokenFinder, 2>, 2> finders_;
  PairMerger merger_;
  std::array<int32_t, 256> byte_ids_;                // -1: no token
  mutable std::vector<std::atomic<uint8_t>> alone_;  // Alone, by id
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Make(TokenizerData data) {
  auto tokenizer = std::make_unique<BytePairTokenizer>(std::move(data));
  EDGETUNE_RETURN_IF_ERROR(tokenizer->Prepare());
  return tokenizer;
}

}  // namespace edgetune
