#include "models/io/tokenizer/hf_tokenizer_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/status.h"
#include "models/io/strict_json.h"
#include "models/io/tokenizer/hf_stages.h"

namespace edgetune {
namespace {

using nlohmann::json;

constexpr char kTokenizerConfig[] = "tokenizer_config.json";

absl::Status RefuseConfig(std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", kTokenizerConfig, what));
}

absl::StatusOr<json> ParseUnlessEmpty(std::string_view text,
                                      std::string_view name) {
  if (text.empty()) return json();
  return ParseStrictJson(text, name);
}

// Applies tokenizer_config.json: transformers obeys it over tokenizer.json.
class ConfigApplier {
 public:
  ConfigApplier(const json& config, TokenizerData* data)
      : config_(config), data_(*data) {
    for (size_t id = 0; id < data_.tokens.size(); ++id) {
      if (data_.types[id] == kNormalType) continue;
      added_.emplace(data_.tokens[id], static_cast<int32_t>(id));
    }
  }

  absl::Status Apply() {
    EDGETUNE_RETURN_IF_ERROR(CheckFlags());
    EDGETUNE_RETURN_IF_ERROR(CheckAddedTokens());
    EDGETUNE_RETURN_IF_ERROR(CheckFurtherTokens());
    const std::pair<const char*, int32_t*> names[] = {
        {"eos_token", &data_.eos},
        {"unk_token", &data_.unknown},
        {"pad_token", &data_.padding}};
    for (const auto& [name, id] : names) {
      EDGETUNE_ASSIGN_OR_RETURN(*id, IdOf(name, Member(config_, name)));
    }
    EDGETUNE_ASSIGN_OR_RETURN(const int32_t bos,
                              IdOf("bos_token", Member(config_, "bos_token")));
    if (data_.add_bos && bos >= 0 && bos != data_.bos) {
      return RefuseConfig(fmt::format(
          "bos_token is the token {}, but tokenizer.json puts {} before a text",
          bos, data_.bos));
    }
    if (!data_.add_bos) data_.bos = bos;
    return absl::OkStatus();
  }

 private:
  absl::Status CheckFlags() {
    for (const char* flag :
         {"add_prefix_space", "add_eos_token", "split_special_tokens"}) {
      if (!Flag(config_, flag, false)) continue;
      return RefuseConfig(fmt::format("{} is not supported", flag));
    }
    const bool add_bos = Flag(config_, "add_bos_token", data_.add_bos);
    if (add_bos == data_.add_bos) return absl::OkStatus();
    return RefuseConfig(fmt::format(
        "add_bos_token is {}, but tokenizer.json {} a token before a text",
        add_bos, data_.add_bos ? "puts" : "does not put"));
  }

  // "<s>" or {"content": "<s>", ...}; null is none (-1).
  absl::StatusOr<int32_t> IdOf(std::string_view name, const json& token) const {
    if (token.is_null()) return -1;
    const json& content = token.is_object() ? Member(token, "content") : token;
    const auto at = content.is_string()
                        ? added_.find(content.get_ref<const std::string&>())
                        : added_.end();
    if (at == added_.end()) {
      return RefuseConfig(
          fmt::format("{} {} is not among the added_tokens of tokenizer.json",
                      name, Shown(content)));
    }
    return at->second;
  }

  // Lists of more special tokens, under the name of either release.
  absl::Status CheckFurtherTokens() const {
    for (const char* name :
         {"additional_special_tokens", "extra_special_tokens"}) {
      const json& list = Member(config_, name);
      if (!list.is_structured()) continue;
      for (const json& token : list) {
        EDGETUNE_RETURN_IF_ERROR(IdOf(name, token).status());
      }
    }
    return absl::OkStatus();
  }

  // transformers adds again what differs here from tokenizer.json.
  absl::Status CheckAddedTokens() const {
    const json& decoder = Member(config_, "added_tokens_decoder");
    if (!decoder.is_object()) return absl::OkStatus();
    for (const auto& [key, entry] : decoder.items()) {
      EDGETUNE_ASSIGN_OR_RETURN(const int32_t id,
                                IdOf("added_tokens_decoder", entry));
      const auto& late = data_.after_normalizing;
      const bool special = data_.types[id] == kControlType;
      const bool same = key == std::to_string(id) &&
                        Flag(entry, "special", special) == special &&
                        Flag(entry, "normalized", !special) ==
                            std::binary_search(late.begin(), late.end(), id) &&
                        !Flag(entry, "lstrip", false) &&
                        !Flag(entry, "rstrip", false) &&
                        !Flag(entry, "single_word", false);
      if (same) continue;
      return RefuseConfig(fmt::format(
          "added_tokens_decoder has {} as {}, unlike tokenizer.json",
          Shown(entry), key));
    }
    return absl::OkStatus();
  }

  const json& config_;
  TokenizerData& data_;
  std::unordered_map<std::string_view, int32_t> added_;
};

// Where `*id` is open, what config.json says; the first of a list.
absl::Status FillOpenId(const json& config, const char* key,
                        const TokenizerData& data, int32_t* id) {
  const json* value = &Member(config, key);
  if (value->is_array() && !value->empty()) value = &value->front();
  if (*id >= 0 || !value->is_number_integer() || *value < 0) {
    return absl::OkStatus();
  }
  if (*value >= data.tokens.size()) {
    return absl::InvalidArgumentError(
        fmt::format("config.json: {} is {}, outside the vocabulary of {}", key,
                    Shown(*value), data.tokens.size()));
  }
  *id = value->get<int32_t>();
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyHfTokenizerConfigs(const HfTokenizerConfigs& configs,
                                     TokenizerData* data) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const json tokenizer,
      ParseUnlessEmpty(configs.tokenizer_config, kTokenizerConfig));
  EDGETUNE_RETURN_IF_ERROR(ConfigApplier(tokenizer, data).Apply());
  EDGETUNE_ASSIGN_OR_RETURN(const json config,
                            ParseUnlessEmpty(configs.config, "config.json"));
  EDGETUNE_ASSIGN_OR_RETURN(
      const json generation,
      ParseUnlessEmpty(configs.generation_config, "generation_config.json"));
  for (const json* each : {&config, &generation}) {
    const std::pair<const char*, int32_t*> ids[] = {
        {"bos_token_id", &data->bos},
        {"eos_token_id", &data->eos},
        {"pad_token_id", &data->padding}};
    for (const auto& [key, id] : ids) {
      EDGETUNE_RETURN_IF_ERROR(FillOpenId(*each, key, *data, id));
    }
  }
  return absl::OkStatus();
}

}  // namespace edgetune
