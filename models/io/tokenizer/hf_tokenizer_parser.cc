#include "models/io/tokenizer/hf_tokenizer_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/utf8.h"
#include "models/io/strict_json.h"
#include "models/io/tokenizer/byte_alphabet.h"
#include "models/io/tokenizer/hf_stages.h"
#include "models/io/tokenizer/nfc.h"

namespace edgetune {
namespace {

using nlohmann::json;

constexpr char kTokenizerFile[] = "tokenizer.json";
constexpr std::string_view kVocabulary = "model/vocab";
constexpr std::string_view kMerges = "model/merges";

// Collects the vocabulary and the merges in the order of the file.
class Collector final : public JsonStream {
 public:
  bool Wants(std::string_view path) override {
    return path == kVocabulary || path == kMerges;
  }
  void Take(std::string_view path, std::string key, json element) override {
    if (path == kVocabulary) {
      TakeToken(std::move(key), element);
    } else {
      TakeMerge(element);
    }
  }

  // What could not be taken, "" if nothing: said after the model's type.
  std::string problem;
  std::vector<std::pair<std::string, int32_t>> tokens;
  std::vector<std::string> merges;

 private:
  void TakeToken(std::string key, const json& id) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() > std::numeric_limits<int32_t>::max()) {
      problem = fmt::format("token {} has id {}", Shown(key), Shown(id));
      return;
    }
    tokens.emplace_back(std::move(key), id.get<int32_t>());
  }

  // "a b" or ["a", "b"].
  void TakeMerge(const json& merge) {
    const bool pair = merge.is_array() && merge.size() == 2 &&
                      merge[0].is_string() && merge[1].is_string();
    std::string text;
    if (merge.is_string()) {
      text = merge.get<std::string>();
    } else if (pair) {
      text = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
    if (std::count(text.begin(), text.end(), ' ') != 1) {
      problem = fmt::format("merge {} is {}, wanted two tokens", merges.size(),
                            Shown(merge));
      return;
    }
    merges.push_back(std::move(text));
  }
};

absl::Status RefuseTokenizer(std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", kTokenizerFile, what));
}

// Puts tokens in the places of their ids.
class Vocabulary {
 public:
  // At most `limit` tokens will come, so no id can be as large.
  Vocabulary(size_t limit, TokenizerData* data) : data_(*data) {
    data_.tokens.resize(limit);
    data_.types.assign(limit, 0);  // 0: no token yet
  }

  absl::Status Place(int32_t id, std::string token) {
    if (static_cast<size_t>(id) >= data_.tokens.size()) {
      return RefuseTokenizer(fmt::format(
          "token {} has id {}, but there are not more than {} tokens",
          Shown(token), id, data_.tokens.size()));
    }
    if (data_.types[id] != 0) {
      return RefuseTokenizer(fmt::format("id {} belongs to {} and {}", id,
                                         Shown(data_.tokens[id]),
                                         Shown(token)));
    }
    data_.tokens[id] = std::move(token);
    data_.types[id] = kNormalType;
    return absl::OkStatus();
  }

  // An entry of added_tokens, new or a token of the model.
  absl::Status Add(const json& entry) {
    const json& content = Member(entry, "content");
    const json& id = Member(entry, "id");
    if (!content.is_string() || content.get<std::string>().empty() ||
        !id.is_number_unsigned() || id.get<uint64_t>() >= data_.types.size()) {
      return RefuseTokenizer(
          fmt::format("added token {} with id {}", Shown(content), Shown(id)));
    }
    for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
      if (!Flag(entry, flag, false)) continue;
      return RefuseTokenizer(fmt::format(
          "added token {} with {} is not supported", Shown(content), flag));
    }
    const int32_t at = id.get<int32_t>();
    if (data_.types[at] != kNormalType || data_.tokens[at] != content) {
      EDGETUNE_RETURN_IF_ERROR(Place(at, content.get<std::string>()));
    }
    const bool special = Flag(entry, "special", false);
    data_.types[at] = special ? kControlType : kUserType;
    if (Flag(entry, "normalized", !special)) {
      data_.after_normalizing.push_back(at);
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    std::vector<int32_t>& types = data_.types;
    while (!types.empty() && types.back() == 0) types.pop_back();
    data_.tokens.resize(types.size());
    const auto hole = std::find(types.begin(), types.end(), 0);
    if (hole != types.end()) {
      return RefuseTokenizer(
          fmt::format("no token has the id {}", hole - types.begin()));
    }
    std::sort(data_.after_normalizing.begin(), data_.after_normalizing.end());
    return absl::OkStatus();
  }

 private:
  TokenizerData& data_;
};

bool HasEveryByte(const std::vector<std::string>& tokens) {
  std::array<bool, 256> has{};
  for (const std::string& token : tokens) {
    if (token.empty()) continue;
    const Utf8Char c = DecodeUtf8(token);
    const int32_t byte = kByteAlphabet.ByteOf(c.code);
    if (byte >= 0 && c.length == token.size()) has[byte] = true;
  }
  return std::all_of(has.begin(), has.end(), [](bool b) { return b; });
}

// What the model would do to a byte that has no token, and at random.
absl::Status CheckModelFlags(const json& model, const TokenizerData& data) {
  const json& dropout = Member(model, "dropout");
  if (!dropout.is_null() && dropout != 0) {
    return RefuseTokenizer(
        fmt::format("dropout {} is not supported", Shown(dropout)));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = Member(model, key);
    if (value.is_null() || value == "") continue;
    return RefuseTokenizer(
        fmt::format("{} {} is not supported", key, Shown(value)));
  }
  const json& unknown = Member(model, "unk_token");
  const bool fallback = Flag(model, "byte_fallback", false);
  if ((unknown.is_null() && !fallback) || HasEveryByte(data.tokens)) {
    return absl::OkStatus();
  }
  return RefuseTokenizer(
      fmt::format("{} is not supported, as some bytes have no token",
                  fallback ? "byte_fallback" : "unk_token " + Shown(unknown)));
}

absl::Status CheckType(const json& root, const Collector& collected) {
  const json& model = Member(root, "model");
  if (!model.is_object()) return RefuseTokenizer("there is no model");
  // Files of early releases name no type.
  const json& type = Member(model, "type");
  const bool untyped = type.is_null() && Member(model, "merges").is_array();
  if (!untyped && type != "BPE") {
    return RefuseTokenizer(fmt::format(
        "model {} is not supported, byte-level BPE is", Shown(type)));
  }
  if (!collected.problem.empty()) return RefuseTokenizer(collected.problem);
  if (collected.tokens.empty()) {
    return RefuseTokenizer("the vocabulary is empty");
  }
  return absl::OkStatus();
}

// Where a pair comes twice, releases of the library differ in its rank.
absl::Status RefuseRepeated(const std::vector<std::string>& merges) {
  std::vector<uint32_t> order(merges.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return merges[a] < merges[b]; });
  const auto twice = std::adjacent_find(
      order.begin(), order.end(),
      [&](uint32_t a, uint32_t b) { return merges[a] == merges[b]; });
  if (twice == order.end()) return absl::OkStatus();
  return RefuseTokenizer(
      fmt::format("merge {} comes twice", Shown(merges[*twice])));
}

absl::Status FillTokens(const json& root, Collector* collected,
                        TokenizerData* data) {
  const json& added = Member(root, "added_tokens");
  if (!added.is_null() && !added.is_array()) {
    return RefuseTokenizer("added_tokens is not a list");
  }
  Vocabulary vocabulary(collected->tokens.size() + added.size(), data);
  for (auto& [token, id] : collected->tokens) {
    EDGETUNE_RETURN_IF_ERROR(vocabulary.Place(id, std::move(token)));
  }
  for (const json& entry : added) {
    EDGETUNE_RETURN_IF_ERROR(vocabulary.Add(entry));
  }
  return vocabulary.Finish();
}

// The library normalises such a token as it does the text.
absl::Status CheckNormalised(const TokenizerData& data) {
  for (const int32_t id : data.after_normalizing) {
    const std::string& token = data.tokens[id];
    if (!data.nfc || NfcText(token).text() == token) continue;
    return absl::InvalidArgumentError(
        fmt::format("added token {}, sought in normalised text, is not NFC, "
                    "which is not supported",
                    Shown(token)));
  }
  return absl::OkStatus();
}

absl::Status FillStages(const json& root, TokenizerData* data) {
  EDGETUNE_ASSIGN_OR_RETURN(data->pre,
                            PreOfStages(Member(root, "pre_tokenizer")));
  EDGETUNE_ASSIGN_OR_RETURN(data->nfc, IsNfc(Member(root, "normalizer")));
  EDGETUNE_RETURN_IF_ERROR(CheckNormalised(*data));
  EDGETUNE_RETURN_IF_ERROR(CheckDecoder(Member(root, "decoder")));
  EDGETUNE_ASSIGN_OR_RETURN(auto leading,
                            LeadingId(Member(root, "post_processor")));
  data->add_bos = leading.has_value();
  data->bos = leading.value_or(-1);
  if (data->bos < static_cast<int64_t>(data->tokens.size())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("post_processor puts the id {} before a text, outside the "
                  "vocabulary of {}",
                  data->bos, data->tokens.size()));
}

}  // namespace

absl::StatusOr<TokenizerData> ParseHfTokenizer(
    std::string_view tokenizer, const HfTokenizerConfigs& configs) {
  Collector collected;
  EDGETUNE_ASSIGN_OR_RETURN(
      const json root, ParseStrictJson(tokenizer, kTokenizerFile, collected));
  EDGETUNE_RETURN_IF_ERROR(CheckType(root, collected));
  TokenizerData data;
  EDGETUNE_RETURN_IF_ERROR(FillTokens(root, &collected, &data));
  EDGETUNE_RETURN_IF_ERROR(RefuseRepeated(collected.merges));
  data.merges = std::move(collected.merges);
  EDGETUNE_RETURN_IF_ERROR(CheckModelFlags(Member(root, "model"), data));
  data.ignore_merges = Flag(Member(root, "model"), "ignore_merges", false);
  const absl::Status stages = FillStages(root, &data);
  if (!stages.ok()) return Prefix(stages, kTokenizerFile);
  EDGETUNE_RETURN_IF_ERROR(ApplyHfTokenizerConfigs(configs, &data));
  return data;
}

}  // namespace edgetune
