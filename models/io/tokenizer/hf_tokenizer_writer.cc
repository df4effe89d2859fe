#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "models/io/strict_json.h"
#include "models/io/tokenizer/hf_stages.h"
#include "models/io/tokenizer/hf_tokenizer.h"

namespace edgetune {
namespace {

using nlohmann::ordered_json;

bool IsAdded(int32_t type) {
  return type == kUnknownType || type == kControlType || type == kUserType;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    if (c.code < 0) return false;
    text.remove_prefix(c.length);
  }
  return true;
}

ordered_json AddedTokens(const TokenizerData& data) {
  ordered_json out = ordered_json::array();
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (!IsAdded(data.types[id]) || data.tokens[id].empty()) continue;
    const auto& late = data.after_normalizing;
    const bool normalized =
        std::binary_search(late.begin(), late.end(), static_cast<int32_t>(id));
    out.push_back({{"id", id},
                   {"content", data.tokens[id]},
                   {"single_word", false},
                   {"lstrip", false},
                   {"rstrip", false},
                   {"normalized", normalized},
                   {"special", data.types[id] != kUserType}});
  }
  return out;
}

// The token before a text, then the text; pairs of texts likewise.
ordered_json PostProcessor(const TokenizerData& data) {
  if (!data.add_bos || data.bos < 0) return nullptr;
  const std::string& bos = data.tokens[data.bos];
  const auto special = [&](int type) {
    return ordered_json{{"SpecialToken", {{"id", bos}, {"type_id", type}}}};
  };
  const auto text = [](const char* id, int type) {
    return ordered_json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", ordered_json::array({special(0), text("A", 0)})},
          {"pair", ordered_json::array(
                       {special(0), text("A", 0), special(1), text("B", 1)})},
          {"special_tokens",
           {{bos,
             {{"id", bos},
              {"ids", ordered_json::array({data.bos})},
              {"tokens", ordered_json::array({bos})}}}}}};
}

ordered_json Model(const TokenizerData& data) {
  // As a list of members: an ordered object would search each key among those
  // before it.
  ordered_json::object_t vocabulary;
  vocabulary.reserve(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    vocabulary.emplace_back(data.tokens[id], id);
  }
  // Of a repeated pair only the first counts, here and in GGUF.
  ordered_json merges = ordered_json::array();
  std::unordered_set<std::string_view> seen;
  for (const std::string& merge : data.merges) {
    if (seen.insert(merge).second) merges.push_back(merge);
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", data.ignore_merges},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

ordered_json TokenizerJson(const TokenizerData& data, PreTokenizer kind) {
  ordered_json normalizer;
  if (data.nfc) normalizer = {{"type", "NFC"}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokens(data)},
          {"normalizer", normalizer},
          {"pre_tokenizer", ordered_json(StagesOf(kind))},
          {"post_processor", PostProcessor(data)},
          {"decoder",
           {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", true},
            {"use_regex", true}}},
          {"model", Model(data)}};
}

ordered_json TokenizerConfig(const TokenizerData& data,
                             const std::string& chat_template) {
  // A class of this name takes tokenizer.json as it is; those named after a
  // model put their own stages in place of the file's.
  ordered_json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"add_prefix_space", false},
                      {"add_bos_token", data.add_bos},
                      {"clean_up_tokenization_spaces", false}};
  const std::pair<const char*, int32_t> names[] = {{"bos_token", data.bos},
                                                   {"eos_token", data.eos},
                                                   {"unk_token", data.unknown},
                                                   {"pad_token", data.padding}};
  for (const auto& [name, id] : names) {
    // transformers would make a special token of any other.
    if (id >= 0 && IsAdded(data.types[id])) out[name] = data.tokens[id];
  }
  if (!chat_template.empty()) out["chat_template"] = chat_template;
  return out;
}

absl::Status Check(const TokenizerData& data) {
  if (!PreTokenizerOf(data.pre).has_value()) {
    return absl::InvalidArgumentError(
        fmt::format("pre-tokenizer '{}' is not known", data.pre));
  }
  if (data.types.size() != data.tokens.size()) {
    return absl::InvalidArgumentError(fmt::format(
        "{} token types for {} tokens", data.types.size(), data.tokens.size()));
  }
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (IsUtf8(data.tokens[id])) continue;
    return absl::InvalidArgumentError(
        fmt::format("token {} is not UTF-8, as JSON must be", id));
  }
  const auto size = static_cast<int64_t>(data.tokens.size());
  for (int32_t id : {data.bos, data.eos, data.unknown, data.padding}) {
    if (id < size) continue;
    return absl::InvalidArgumentError(fmt::format(
        "special token id {} is outside the vocabulary of {}", id, size));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> HfTokenizerFiles(
    const TokenizerData& data, const std::string& chat_template_source) {
  EDGETUNE_RETURN_IF_ERROR(
      Annotate(Check(data), ErrorKind::kModel, "export to GGUF instead"));
  const PreTokenizer kind = *PreTokenizerOf(data.pre);
  return std::map<std::string, std::string>{
      {"tokenizer.json", JsonFileText(TokenizerJson(data, kind))},
      {"tokenizer_config.json",
       JsonFileText(TokenizerConfig(data, chat_template_source))}};
}

}  // namespace edgetune
