#include "models/io/hf/hf_config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "models/io/model_tensors.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr char kHfConfigFile[] = "config.json";
// What an absent key means.
constexpr double kDefaultTheta = 10000;

absl::Status Refused(std::string_view key, const json& value,
                     std::string_view wanted) {
  return absl::InvalidArgumentError(fmt::format(
      "{}: {} is {}, wanted {}", kHfConfigFile, key,
      value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 200),
      wanted));
}

class HfConfigReader {
 public:
  explicit HfConfigReader(const json& root) : root_(root) {}

  absl::StatusOr<HfConfig> Read() {
    EDGETUNE_RETURN_IF_ERROR(ReadArchitecture());
    ModelConfig& c = out_.model;
    const std::pair<const char*, int64_t*> sizes[] = {
        {"hidden_size", &c.hidden},
        {"intermediate_size", &c.ffn},
        {"num_hidden_layers", &c.layers},
        {"num_attention_heads", &c.heads},
        {"vocab_size", &c.vocab},
        {"max_position_embeddings", &c.context}};
    for (const auto& [key, size] : sizes) {
      EDGETUNE_ASSIGN_OR_RETURN(*size, Count(root_, key));
    }
    EDGETUNE_RETURN_IF_ERROR(ReadHeads());
    EDGETUNE_ASSIGN_OR_RETURN(c.rms_eps, Positive(root_, "rms_norm_eps"));
    EDGETUNE_ASSIGN_OR_RETURN(c.tied, Flag("tie_word_embeddings"));
    EDGETUNE_RETURN_IF_ERROR(RefuseVariants());
    EDGETUNE_RETURN_IF_ERROR(ReadRope());
    EDGETUNE_RETURN_IF_ERROR(ReadTokens());
    EDGETUNE_RETURN_IF_ERROR(CheckModelConfig(c));
    if (c.rope_scaling.has_value()) {
      c.rope_divisors =
          RopeDivisorsOf(*c.rope_scaling, c.rope_theta, c.head_dim);
    }
    return std::move(out_);
  }

 private:
  // nullptr: absent or null.
  static const json* Find(const json& object, const char* key) {
    auto it = object.find(key);
    return it == object.end() || it->is_null() ? nullptr : &*it;
  }

  static absl::StatusOr<const json*> Need(const json& object, const char* key) {
    const json* value = Find(object, key);
    if (value != nullptr) return value;
    return absl::InvalidArgumentError(
        fmt::format("{} has no key {}", kHfConfigFile, key));
  }

  static absl::StatusOr<int64_t> Count(const json& object, const char* key) {
    EDGETUNE_ASSIGN_OR_RETURN(const json* value, Need(object, key));
    if (value->is_number_unsigned() &&
        value->get<uint64_t>() <= std::numeric_limits<int32_t>::max()) {
      return value->get<int64_t>();
    }
    return Refused(key, *value, "a whole number");
  }

  static absl::StatusOr<double> Positive(const json& object, const char* key) {
    EDGETUNE_ASSIGN_OR_RETURN(const json* value, Need(object, key));
    const double number = value->is_number() ? value->get<double>() : 0;
    if (std::isfinite(number) && number > 0) return number;
    return Refused(key, *value, "a positive number");
  }

  absl::StatusOr<bool> Flag(const char* key) {
    const json* value = Find(root_, key);
    if (value == nullptr) return false;
    if (value->is_boolean()) return value->get<bool>();
    return Refused(key, *value, "true or false");
  }

  absl::Status ReadArchitecture() {
    EDGETUNE_ASSIGN_OR_RETURN(const json* type, Need(root_, "model_type"));
    if (*type != "llama" && *type != "qwen2") {
      return Refused("model_type", *type, "\"llama\" or \"qwen2\"");
    }
    out_.model.architecture = type->get<std::string>();
    out_.model.qkv_bias = *type == "qwen2";
    const json wanted = {*type == "llama" ? "LlamaForCausalLM"
                                          : "Qwen2ForCausalLM"};
    const json* names = Find(root_, "architectures");
    if (names == nullptr || *names == wanted) return absl::OkStatus();
    return Refused("architectures", *names, wanted.dump());
  }

  absl::Status ReadHeads() {
    ModelConfig& c = out_.model;
    c.kv_heads = c.heads;
    if (Find(root_, "num_key_value_heads") != nullptr) {
      EDGETUNE_ASSIGN_OR_RETURN(c.kv_heads,
                                Count(root_, "num_key_value_heads"));
    }
    if (Find(root_, "head_dim") != nullptr) {
      EDGETUNE_ASSIGN_OR_RETURN(c.head_dim, Count(root_, "head_dim"));
      return absl::OkStatus();
    }
    if (c.heads < 1 || c.hidden % c.heads != 0) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {} heads do not divide a hidden size of {}",
                      kHfConfigFile, c.heads, c.hidden));
    }
    c.head_dim = c.hidden / c.heads;
    return absl::OkStatus();
  }

  // Features that would change the result, or the tensors.
  absl::Status RefuseVariants() {
    for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window",
                            "quantization_config", "rope_interleaved"}) {
      const json* value = Find(root_, key);
      if (value != nullptr && *value != false) {
        return Refused(key, *value, "false");
      }
    }
    if (const json* act = Find(root_, "hidden_act");
        act != nullptr && *act != "silu") {
      return Refused("hidden_act", *act, "\"silu\"");
    }
    if (const json* part = Find(root_, "partial_rotary_factor");
        part != nullptr && *part != 1) {
      return Refused("partial_rotary_factor", *part, "1");
    }
    const json* kinds = Find(root_, "layer_types");
    for (const json& kind : kinds == nullptr ? json::array() : *kinds) {
      if (kind != "full_attention") {
        return Refused("layer_types", kind, "\"full_attention\"");
      }
    }
    return absl::OkStatus();
  }

  // Top-level rope_theta and rope_scaling, or rope_parameters with both.
  absl::Status ReadRope() {
    ModelConfig& c = out_.model;
    const json* nested = Find(root_, "rope_parameters");
    const json* scaling = Find(root_, "rope_scaling");
    const json* theta_at = &root_;
    if (Find(root_, "rope_theta") == nullptr && nested != nullptr) {
      theta_at = nested;
    }
    c.rope_theta = kDefaultTheta;
    if (Find(*theta_at, "rope_theta") != nullptr) {
      EDGETUNE_ASSIGN_OR_RETURN(c.rope_theta,
                                Positive(*theta_at, "rope_theta"));
    }
    for (const json* place : {nested, scaling}) {
      if (place == nullptr) continue;
      EDGETUNE_ASSIGN_OR_RETURN(auto read, ReadScaling(*place));
      const bool second = place == scaling && nested != nullptr;
      if (second && read != c.rope_scaling) {
        return Refused("rope_scaling", *place, "what rope_parameters says");
      }
      c.rope_scaling = read;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Llama3RopeScaling>> ReadScaling(
      const json& place) {
    if (!place.is_object()) return Refused("rope_scaling", place, "an object");
    const json* type = Find(place, "rope_type");
    if (type == nullptr) type = Find(place, "type");
    const bool llama3 = type != nullptr && *type == "llama3";
    if (type != nullptr && !llama3 && *type != "default") {
      return Refused("rope_type", *type, "\"default\" or \"llama3\"");
    }
    if (llama3 && out_.model.architecture != "llama") {
      return Refused("rope_type", *type, "\"default\" in architecture qwen2");
    }
    EDGETUNE_RETURN_IF_ERROR(CheckRopeKeys(place, llama3));
    if (!llama3) return std::nullopt;
    Llama3RopeScaling s;
    EDGETUNE_ASSIGN_OR_RETURN(s.factor, Positive(place, "factor"));
    EDGETUNE_ASSIGN_OR_RETURN(s.low_freq_factor,
                              Positive(place, "low_freq_factor"));
    EDGETUNE_ASSIGN_OR_RETURN(s.high_freq_factor,
                              Positive(place, "high_freq_factor"));
    EDGETUNE_ASSIGN_OR_RETURN(s.original_context,
                              Count(place, "original_max_position_embeddings"));
    if (s.low_freq_factor >= s.high_freq_factor || s.original_context < 1 ||
        s.factor < 1 || s.factor > 1e6) {
      return Refused("rope_scaling", place,
                     "factor of at least 1 and low_freq_factor below "
                     "high_freq_factor");
    }
    return s;
  }

  // A key that is not known here could mean another rotation.
  absl::Status CheckRopeKeys(const json& place, bool llama3) {
    std::set<std::string> known = {"rope_theta", "rope_type", "type"};
    if (llama3) {
      known.insert({"factor", "low_freq_factor", "high_freq_factor",
                    "original_max_position_embeddings"});
    }
    for (const auto& [key, value] : place.items()) {
      if (known.count(key) > 0) continue;
      if (key == "partial_rotary_factor" && value == 1) continue;
      return Refused("rope_scaling." + key, value, "no such key");
    }
    const json* inner = Find(place, "rope_theta");
    if (inner != nullptr && *inner != out_.model.rope_theta) {
      return Refused(
          "rope_theta", *inner,
          fmt::format("{} as elsewhere in the file", out_.model.rope_theta));
    }
    return absl::OkStatus();
  }

  // One id, or (end tokens only) a list of them.
  absl::Status ReadTokens() {
    EDGETUNE_ASSIGN_OR_RETURN(out_.bos, TokenId("bos_token_id"));
    EDGETUNE_ASSIGN_OR_RETURN(out_.padding, TokenId("pad_token_id"));
    const json* ends = Find(root_, "eos_token_id");
    if (ends == nullptr) return absl::OkStatus();
    for (const json& end : ends->is_array() ? *ends : json::array({*ends})) {
      if (!IsToken(end)) return Refused("eos_token_id", *ends, "token ids");
      out_.model.end_tokens.push_back(end.get<int32_t>());
    }
    return absl::OkStatus();
  }

  bool IsToken(const json& value) const {
    return value.is_number_unsigned() &&
           value.get<uint64_t>() < static_cast<uint64_t>(out_.model.vocab);
  }

  absl::StatusOr<int32_t> TokenId(const char* key) {
    const json* value = Find(root_, key);
    // -1 stands for none in some files.
    if (value == nullptr || *value == -1) return -1;
    if (IsToken(*value)) return value->get<int32_t>();
    return Refused(key, *value, "a token id");
  }

  const json& root_;
  HfConfig out_;
};

ordered_json IdOrNull(int32_t id) {
  return id < 0 ? ordered_json(nullptr) : ordered_json(id);
}

// A value that came through a float32 (GGUF) as it was meant: 1e-05.
double Shortest(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) return value;
  return std::stod(fmt::format("{}", narrow));
}

absl::StatusOr<ordered_json> ScalingJson(const ModelConfig& c) {
  if (c.rope_divisors.empty()) return ordered_json(nullptr);
  if (!c.rope_scaling.has_value()) {
    return absl::InvalidArgumentError(
        "the model's rotary divisors are not those of Llama 3's scaling, "
        "which is all that config.json can describe");
  }
  const Llama3RopeScaling& s = *c.rope_scaling;
  ordered_json out;
  out["rope_type"] = "llama3";
  out["factor"] = Shortest(s.factor);
  out["low_freq_factor"] = s.low_freq_factor;
  out["high_freq_factor"] = s.high_freq_factor;
  out["original_max_position_embeddings"] = s.original_context;
  return out;
}

}  // namespace

absl::StatusOr<HfConfig> ParseHfConfig(std::string_view text) {
  EDGETUNE_ASSIGN_OR_RETURN(json root, ParseStrictJson(text, kHfConfigFile));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{} is not an object", kHfConfigFile));
  }
  return HfConfigReader(root).Read();
}

absl::StatusOr<std::string> HfConfigText(const ModelConfig& c,
                                         const TokenizerData& tokenizer,
                                         std::string_view dtype) {
  const bool llama = c.architecture == "llama";
  ordered_json out;
  out["architectures"] = {llama ? "LlamaForCausalLM" : "Qwen2ForCausalLM"};
  out["model_type"] = c.architecture;
  out["hidden_size"] = c.hidden;
  out["intermediate_size"] = c.ffn;
  out["num_hidden_layers"] = c.layers;
  out["num_attention_heads"] = c.heads;
  out["num_key_value_heads"] = c.kv_heads;
  out["head_dim"] = c.head_dim;
  out["vocab_size"] = c.vocab;
  out["max_position_embeddings"] = c.context;
  out["rms_norm_eps"] = Shortest(c.rms_eps);
  out["rope_theta"] = Shortest(c.rope_theta);
  EDGETUNE_ASSIGN_OR_RETURN(out["rope_scaling"], ScalingJson(c));
  out["hidden_act"] = "silu";
  out["tie_word_embeddings"] = c.tied;
  if (llama) {
    out["attention_bias"] = false;
    out["mlp_bias"] = false;
  } else {
    out["use_sliding_window"] = false;
  }
  out["bos_token_id"] = IdOrNull(tokenizer.bos);
  out["eos_token_id"] = c.end_tokens.empty() ? ordered_json(nullptr)
                        : c.end_tokens.size() == 1
                            ? ordered_json(c.end_tokens[0])
                            : ordered_json(c.end_tokens);
  out["pad_token_id"] = IdOrNull(tokenizer.padding);
  out["attention_dropout"] = 0.0;
  out["initializer_range"] = 0.02;
  out["use_cache"] = true;
  out["torch_dtype"] = std::string(dtype);
  return out.dump(2) + "\n";
}

}  // namespace edgetune
