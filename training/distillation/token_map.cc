#include "training/distillation/token_map.h"

#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/status.h"

namespace edgetune {
namespace {

absl::Status Differ(const std::string& what) {
  return Annotate(
      absl::InvalidArgumentError("the student's tokenizer is not the "
                                 "teacher's, nor a part of it: " +
                                 what),
      ErrorKind::kModel,
      "take models of one family, or a student whose vocabulary was pruned "
      "from the teacher's");
}

// How texts are cut, whatever the tokens.
absl::Status CheckRules(const TokenizerData& own, const TokenizerData& other) {
  if (own.pre != other.pre) {
    return Differ(
        fmt::format("its pre-tokenizer is \"{}\", the teacher's "
                    "\"{}\"",
                    own.pre, other.pre));
  }
  const auto flag = [](const char* what, bool one, bool two) {
    if (one == two) return absl::OkStatus();
    return Differ(fmt::format("{} is {}, the teacher's {}", what, one, two));
  };
  EDGETUNE_RETURN_IF_ERROR(flag("add_bos", own.add_bos, other.add_bos));
  EDGETUNE_RETURN_IF_ERROR(
      flag("ignore_merges", own.ignore_merges, other.ignore_merges));
  return flag("nfc", own.nfc, other.nfc);
}

absl::Status CheckMerges(const TokenizerData& own, const TokenizerData& other) {
  const std::unordered_set<std::string_view> merges(other.merges.begin(),
                                                    other.merges.end());
  for (size_t i = 0; i < own.merges.size(); ++i) {
    if (merges.contains(own.merges[i])) continue;
    return Differ(fmt::format("its merge {} is not one of the teacher's", i));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> FindTokens(const TokenizerData& own,
                                                const TokenizerData& other) {
  std::unordered_map<std::string_view, size_t> places;
  for (size_t i = 0; i < other.tokens.size(); ++i) places[other.tokens[i]] = i;
  std::vector<int32_t> out;
  for (size_t i = 0; i < own.tokens.size(); ++i) {
    const auto found = places.find(own.tokens[i]);
    if (found == places.end()) {
      return Differ(fmt::format("its token {} is not one of the teacher's", i));
    }
    if (own.types[i] != other.types[found->second]) {
      return Differ(fmt::format("its token {} is of type {}, the teacher's {}",
                                i, own.types[i], other.types[found->second]));
    }
    out.push_back(static_cast<int32_t>(found->second));
  }
  return out;
}

class TokenHash {
 public:
  void Add(std::span<const int32_t> numbers) {
    Count(numbers.size());
    hash_.Update({reinterpret_cast<const uint8_t*>(numbers.data()),
                  numbers.size_bytes()});
  }
  void Add(const std::vector<std::string>& texts) {
    Count(texts.size());
    for (const std::string& text : texts) Add(text);
  }
  void Add(const std::string& text) {
    Count(text.size());
    hash_.Update({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  Digest Finish() { return hash_.Finish(); }

 private:
  void Count(uint64_t count) {
    hash_.Update({reinterpret_cast<const uint8_t*>(&count), sizeof(count)});
  }

  Sha256Stream hash_;
};

}  // namespace

absl::StatusOr<std::vector<int32_t>> MapTokens(const ModelConfig& student,
                                               const TokenizerData& own,
                                               const ModelConfig& teacher,
                                               const TokenizerData& others) {
  EDGETUNE_RETURN_IF_ERROR(CheckRules(own, others));
  EDGETUNE_RETURN_IF_ERROR(CheckMerges(own, others));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<int32_t> map, FindTokens(own, others));
  const bool same = own.tokens == others.tokens;
  if (same && student.vocab == teacher.vocab) return std::vector<int32_t>();
  // What no token has, the teacher says nothing of.
  if (student.vocab != static_cast<int64_t>(map.size())) {
    return Differ(fmt::format(
        "its vocabulary of {} has {} rows without a token, the teacher's of {} "
        "has {}",
        student.vocab, student.vocab - static_cast<int64_t>(map.size()),
        teacher.vocab,
        teacher.vocab - static_cast<int64_t>(others.tokens.size())));
  }
  return map;
}

Digest TokenizerDigest(const TokenizerData& t) {
  TokenHash hash;
  hash.Add(t.pre);
  hash.Add(t.tokens);
  hash.Add(t.types);
  hash.Add(t.merges);
  const int32_t rules[] = {t.bos,     t.eos,           t.unknown, t.padding,
                           t.add_bos, t.ignore_merges, t.nfc};
  hash.Add(std::span<const int32_t>(rules));
  hash.Add(t.after_normalizing);
  return hash.Finish();
}

}  // namespace edgetune
