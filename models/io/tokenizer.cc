#include "models/io/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <queue>

#include "base/status.h"
#include "models/io/byte_alphabet.h"
#include "models/io/pre_tokenizer.h"
#include "models/io/utf8.h"

namespace edgetune {
namespace {

constexpr int32_t kUnknownType = 2;
constexpr int32_t kControlType = 3;
constexpr int32_t kUserType = 4;

// The bytes that a token's text stands for; a text with a character outside
// the alphabet stands for itself.
std::string BytesOf(std::string_view token) {
  std::string out;
  for (std::string_view rest = token; !rest.empty();) {
    const Utf8Char c = DecodeUtf8(rest);
    const int32_t byte = kByteAlphabet.ByteOf(c.code);
    if (byte < 0) return std::string(token);
    out.push_back(static_cast<char>(byte));
    rest.remove_prefix(c.length);
  }
  return out;
}

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 |
         static_cast<uint32_t>(right);
}

class BytePairTokenizer final : public Tokenizer {
 public:
  explicit BytePairTokenizer(TokenizerData data) : data_(std::move(data)) {}

  absl::Status Prepare() {
    auto pre = PreTokenizerOf(data_.pre);
    if (!pre.has_value()) {
      return absl::InvalidArgumentError(fmt::format(
          "pre-tokenizer '{}' is not known; smollm, gpt-2, llama-bpe and "
          "qwen2 are",
          data_.pre));
    }
    pre_ = *pre;
    EDGETUNE_RETURN_IF_ERROR(IndexTokens());
    EDGETUNE_RETURN_IF_ERROR(IndexMerges());
    for (int32_t id : {data_.bos, data_.eos, data_.unknown, data_.padding}) {
      if (id < -1 || id >= size()) {
        return absl::InvalidArgumentError(fmt::format(
            "special token id {} is outside the vocabulary of {}", id, size()));
      }
    }
    return absl::OkStatus();
  }

  std::vector<int32_t> Encode(std::string_view text,
                              bool parse_special) const override {
    std::vector<int32_t> ids;
    for (const Piece& piece : EncodeWithOffsets(text, parse_special)) {
      ids.push_back(piece.id);
    }
    return ids;
  }

  std::vector<Piece> EncodeWithOffsets(std::string_view text,
                                       bool parse_special) const override {
    std::vector<Piece> out;
    size_t plain = 0;  // beginning of the text since the last special token
    for (size_t at = 0; at < text.size();) {
      const int32_t id = SpecialAt(text.substr(at), parse_special);
      if (id < 0) {
        ++at;
        continue;
      }
      EncodePlain(text, plain, at, &out);
      plain = at + data_.tokens[id].size();
      out.push_back({id, at, plain});
      at = plain;
    }
    EncodePlain(text, plain, text.size(), &out);
    return out;
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
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  // A part of a piece: a doubly linked list while merging.
  struct Symbol {
    int32_t id;
    size_t begin, end;
    int previous, next;  // -1: none
  };
  // Lowest rank first, leftmost on ties; `id` detects stale entries.
  struct Candidate {
    int32_t rank;
    int left, right;
    int32_t left_id, right_id, id;
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  absl::Status IndexTokens() {
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
    ids_.reserve(data_.tokens.size());
    bytes_.reserve(data_.tokens.size());
    for (int32_t id = 0; id < size(); ++id) {
      const std::string& token = data_.tokens[id];
      if (!ids_.emplace(token, id).second) {
        return absl::InvalidArgumentError(fmt::format(
            "tokens {} and {} of the tokenizer are the same", ids_[token], id));
      }
      const int32_t type = data_.types[id];
      const bool literal =
          type == kControlType || type == kUserType || type == kUnknownType;
      bytes_.push_back(literal ? token : BytesOf(token));
      if (literal && !token.empty()) {
        special_[static_cast<uint8_t>(token[0])].push_back(id);
      }
    }
    for (auto& list : special_) SortLongestFirst(&list);
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = IdOf(kByteAlphabet.Utf8Of(static_cast<uint8_t>(byte)));
    }
    return absl::OkStatus();
  }

  void SortLongestFirst(std::vector<int32_t>* list) const {
    std::stable_sort(list->begin(), list->end(), [&](int32_t a, int32_t b) {
      return data_.tokens[a].size() > data_.tokens[b].size();
    });
  }

  absl::Status IndexMerges() {
    merges_.reserve(data_.merges.size());
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
      // A repeated pair keeps its first, stronger rank.
      merges_.emplace(PairKey(a, b), Merge{static_cast<int32_t>(rank), id});
    }
    return absl::OkStatus();
  }

  // The longest special token that `text` begins with, or -1.
  int32_t SpecialAt(std::string_view text, bool parse_special) const {
    for (int32_t id : special_[static_cast<uint8_t>(text[0])]) {
      if (!parse_special && data_.types[id] != kUserType) continue;
      if (text.substr(0, data_.tokens[id].size()) == data_.tokens[id]) {
        return id;
      }
    }
    return -1;
  }

  void EncodePlain(std::string_view text, size_t begin, size_t end,
                   std::vector<Piece>* out) const {
    size_t from = begin;
    for (size_t stop : SplitPieces(pre_, text.substr(begin, end - begin))) {
      EncodePiece(text, from, begin + stop, out);
      from = begin + stop;
    }
  }

  void EncodePiece(std::string_view text, size_t begin, size_t end,
                   std::vector<Piece>* out) const {
    std::vector<Symbol> symbols;
    symbols.reserve(end - begin);
    for (size_t i = begin; i < end; ++i) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(text[i])];
      if (id < 0) continue;
      const int at = static_cast<int>(symbols.size());
      if (at > 0) symbols.back().next = at;
      symbols.push_back({id, i, i + 1, at - 1, -1});
    }
    if (symbols.empty()) return;
    if (const int32_t whole = WholePiece(text.substr(begin, end - begin));
        whole >= 0) {
      out->push_back({whole, begin, end});
      return;
    }
    MergeAll(&symbols);
    for (int i = 0; i >= 0; i = symbols[i].next) {
      out->push_back({symbols[i].id, symbols[i].begin, symbols[i].end});
    }
  }

  // Llama 3's ignore_merges: a piece that is a token is that token.
  int32_t WholePiece(std::string_view piece) const {
    if (!data_.ignore_merges) return -1;
    std::string token;
    for (unsigned char byte : piece) token += kByteAlphabet.Utf8Of(byte);
    return IdOf(token);
  }

  void Consider(const std::vector<Symbol>& symbols, int left,
                std::priority_queue<Candidate>* queue) const {
    if (left < 0 || symbols[left].next < 0) return;
    const int right = symbols[left].next;
    const int32_t a = symbols[left].id, b = symbols[right].id;
    auto it = merges_.find(PairKey(a, b));
    if (it == merges_.end()) return;
    queue->push({it->second.rank, left, right, a, b, it->second.id});
  }

  void MergeAll(std::vector<Symbol>* symbols) const {
    std::priority_queue<Candidate> queue;
    for (int i = 0; i >= 0; i = (*symbols)[i].next) {
      Consider(*symbols, i, &queue);
    }
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& left = (*symbols)[best.left];
      Symbol& right = (*symbols)[best.right];
      if (left.id != best.left_id || right.id != best.right_id ||
          left.next != best.right) {
        continue;  // a neighbour was merged since
      }
      left.id = best.id;
      left.end = right.end;
      left.next = right.next;
      right.id = -1;
      if (left.next >= 0) (*symbols)[left.next].previous = best.left;
      Consider(*symbols, left.previous, &queue);
      Consider(*symbols, best.left, &queue);
    }
  }

  const TokenizerData data_;
  PreTokenizer pre_ = PreTokenizer::kGpt2;
  std::vector<std::string> bytes_;  // what each token decodes to
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<uint64_t, Merge> merges_;
  std::array<std::vector<int32_t>, 256> special_;  // by first byte
  std::array<int32_t, 256> byte_ids_;              // -1: no token
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Make(TokenizerData data) {
  auto tokenizer = std::make_unique<BytePairTokenizer>(std::move(data));
  EDGETUNE_RETURN_IF_ERROR(tokenizer->Prepare());
  return tokenizer;
}

}  // namespace edgetune
