#include "models/shrink/small_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "models/io/tokenizer/byte_alphabet.h"

namespace edgetune {
namespace {

constexpr size_t kNoRank = std::numeric_limits<size_t>::max();

bool StaysAlways(int32_t type) {
  return type == kControlType || type == kUserType || type == kUnknownType;
}

// The characters of a token.
std::vector<std::string> SymbolsOf(std::string_view token) {
  std::vector<std::string> out;
  while (!token.empty()) {
    const size_t length = std::max<size_t>(1, DecodeUtf8(token).length);
    out.emplace_back(token.substr(0, length));
    token.remove_prefix(length);
  }
  return out;
}

// The merges of a tokenizer, asked how they build one token.
class TokenBuilder {
 public:
  explicit TokenBuilder(const TokenizerData& data) {
    for (size_t id = 0; id < data.tokens.size(); ++id) {
      ids_.emplace(data.tokens[id], static_cast<int32_t>(id));
    }
    for (size_t rank = 0; rank < data.merges.size(); ++rank) {
      ranks_.emplace(data.merges[rank], rank);  // the first of a pair counts
    }
  }

  // What the merges make on the way from the characters of `token` to it,
  // always the strongest first, leftmost on ties.
  std::vector<int32_t> StepsTo(std::string_view token) const {
    std::vector<int32_t> out;
    std::vector<std::string> symbols = SymbolsOf(token);
    while (symbols.size() > 1) {
      size_t best = kNoRank, at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = ranks_.find(symbols[i] + " " + symbols[i + 1]);
        if (found == ranks_.end() || found->second >= best) continue;
        best = found->second;
        at = i;
      }
      if (best == kNoRank) break;
      symbols[at] += symbols[at + 1];
      symbols.erase(symbols.begin() + static_cast<int64_t>(at) + 1);
      const auto id = ids_.find(symbols[at]);
      if (id != ids_.end()) out.push_back(id->second);
    }
    return out;
  }

  std::vector<int32_t> Bytes() const {
    std::vector<int32_t> out;
    for (int byte = 0; byte < 256; ++byte) {
      const auto id =
          ids_.find(kByteAlphabet.Utf8Of(static_cast<uint8_t>(byte)));
      if (id != ids_.end()) out.push_back(id->second);
    }
    return out;
  }

 private:
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<std::string, size_t> ranks_;
};

// Tokens that stay: those that always do, and what is added.
class ClosedSet {
 public:
  // `data` is read as long as this lives.
  ClosedSet(const TokenizerData& data, std::span<const int32_t> ends)
      : data_(data), builder_(data), marked_(data.tokens.size()) {
    std::vector<int32_t> first = builder_.Bytes();
    first.insert(first.end(), ends.begin(), ends.end());
    first.insert(first.end(), {data.bos, data.eos, data.unknown, data.padding});
    for (size_t id = 0; id < marked_.size(); ++id) {
      if (StaysAlways(data.types[id]))
        first.push_back(static_cast<int32_t>(id));
    }
    for (const int32_t id : first) {
      // No such role, or an end token that only pads the embedding.
      if (id < 0 || static_cast<size_t>(id) >= marked_.size()) continue;
      Add(StepsTo(id));
    }
  }

  // Those not yet here of a token and of what it is merged from: a step's own
  // steps are among them. Each once.
  std::vector<int32_t> StepsTo(int32_t id) const {
    std::vector<int32_t> out = {id};
    if (!StaysAlways(data_.types[id])) {
      const auto steps = builder_.StepsTo(data_.tokens[id]);
      out.insert(out.end(), steps.begin(), steps.end());
    }
    std::erase_if(out, [this](int32_t step) { return marked_[step]; });
    std::ranges::sort(out);
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }

  // Of StepsTo, asked after the last Add.
  void Add(std::span<const int32_t> ids) {
    for (const int32_t id : ids) marked_[id] = true;
    size_ += static_cast<int64_t>(ids.size());
  }

  int64_t size() const { return size_; }

  std::vector<int32_t> Ids() const {  // ascending
    std::vector<int32_t> out;
    for (size_t id = 0; id < marked_.size(); ++id) {
      if (marked_[id]) out.push_back(static_cast<int32_t>(id));
    }
    return out;
  }

 private:
  const TokenizerData& data_;
  const TokenBuilder builder_;
  std::vector<bool> marked_;
  int64_t size_ = 0;
};

// New ids by old ones, -1 where a token goes.
class Renumbering {
 public:
  Renumbering(size_t before, std::span<const int32_t> kept) : ids_(before, -1) {
    for (size_t i = 0; i < kept.size(); ++i) {
      ids_[kept[i]] = static_cast<int32_t>(i);
    }
  }
  int32_t Of(int32_t id) const { return id < 0 ? -1 : ids_[id]; }

 private:
  std::vector<int32_t> ids_;
};

absl::Status CheckKeptIds(size_t before, std::span<const int32_t> kept) {
  int64_t last = -1;
  for (const int32_t id : kept) {
    if (id <= last || static_cast<size_t>(id) >= before) {
      return absl::InvalidArgumentError(
          fmt::format("token {} comes behind {}; wanted ascending ids below {}",
                      id, last, before));
    }
    last = id;
  }
  return absl::OkStatus();
}

std::vector<std::string> KeptMerges(const TokenizerData& data,
                                    const TokenizerData& kept) {
  std::unordered_map<std::string_view, bool> there;
  for (const std::string& token : kept.tokens) there.emplace(token, true);
  std::vector<std::string> out;
  for (const std::string& merge : data.merges) {
    const size_t gap = merge.find(' ');
    const std::string left = merge.substr(0, gap);
    const std::string right = merge.substr(gap + 1);
    if (there.contains(left) && there.contains(right) &&
        there.contains(left + right)) {
      out.push_back(merge);
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParseTokenList(
    std::string_view text, const Tokenizer& tokenizer) {
  std::vector<int32_t> out;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view token = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const int32_t id = tokenizer.IdOf(token);
    if (id < 0) {
      return Annotate(
          absl::InvalidArgumentError(fmt::format(
              "line {}: '{}' is no token of the model", line, token)),
          ErrorKind::kUsage,
          "one token a line, as tokenizer.json writes them: \"Ġthe\" is the "
          "with a space before it");
    }
    out.push_back(id);
  }
  if (!out.empty()) return out;
  return Annotate(absl::InvalidArgumentError("the list names no token"),
                  ErrorKind::kUsage);
}

std::vector<int32_t> CloseTokens(const TokenizerData& data,
                                 std::span<const int32_t> ends,
                                 std::span<const int32_t> wanted) {
  ClosedSet set(data, ends);
  for (const int32_t id : wanted) set.Add(set.StepsTo(id));
  return set.Ids();
}

absl::StatusOr<std::vector<int32_t>> MostUsedTokens(
    const TokenizerData& data, std::span<const int32_t> ends,
    std::span<const int64_t> counts, int64_t most) {
  ClosedSet set(data, ends);
  if (set.size() > most) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "{} tokens are too few: {} always stay", most, set.size())),
        ErrorKind::kUsage, "bytes, special tokens and those with a role stay");
  }
  std::vector<int32_t> order;
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (counts[id] > 0) order.push_back(static_cast<int32_t>(id));
  }
  std::ranges::stable_sort(order, [counts](int32_t left, int32_t right) {
    return counts[left] > counts[right];
  });
  for (const int32_t id : order) {
    const std::vector<int32_t> steps = set.StepsTo(id);
    if (set.size() + static_cast<int64_t>(steps.size()) <= most) set.Add(steps);
  }
  return set.Ids();
}

absl::StatusOr<TokenizerData> KeepTokens(const TokenizerData& data,
                                         std::span<const int32_t> kept) {
  EDGETUNE_RETURN_IF_ERROR(CheckKeptIds(data.tokens.size(), kept));
  const Renumbering renumbered(data.tokens.size(), kept);
  for (const int32_t id : {data.bos, data.eos, data.unknown, data.padding}) {
    if (id < 0 || renumbered.Of(id) >= 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("token {} has a role and must stay", id));
  }
  TokenizerData out = data;
  out.tokens.clear();
  out.types.clear();
  for (const int32_t id : kept) {
    out.tokens.push_back(data.tokens[id]);
    out.types.push_back(data.types[id]);
  }
  out.merges = KeptMerges(data, out);
  for (int32_t* id : {&out.bos, &out.eos, &out.unknown, &out.padding}) {
    *id = renumbered.Of(*id);
  }
  out.after_normalizing.clear();
  for (const int32_t id : data.after_normalizing) {
    if (renumbered.Of(id) < 0) continue;
    out.after_normalizing.push_back(renumbered.Of(id));
  }
  return out;
}

}  // namespace edgetune
