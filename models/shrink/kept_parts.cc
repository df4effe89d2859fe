#include "models/shrink/kept_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/status.h"

namespace edgetune {
namespace {

std::vector<int64_t> AllBelow(int64_t end) {
  std::vector<int64_t> out(static_cast<size_t>(end));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

template <typename T>
absl::Status CheckAscending(const std::vector<T>& numbers, int64_t end,
                            std::string_view what) {
  if (numbers.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("of the {}, none would be left", what));
  }
  int64_t last = -1;
  for (const T number : numbers) {
    if (number <= last || number >= end) {
      return absl::InvalidArgumentError(
          fmt::format("{} of the {} comes behind {}; wanted ascending numbers "
                      "below {}",
                      number, what, last, end));
    }
    last = number;
  }
  return absl::OkStatus();
}

absl::Status CheckLayer(const ModelConfig& config, const KeptLayer& layer,
                        const KeptLayer& first) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckAscending(layer.channels, config.ffn, "feed-forward channels"));
  EDGETUNE_RETURN_IF_ERROR(CheckAscending(layer.groups, config.kv_heads,
                                          "groups of attention heads"));
  if (layer.channels.size() == first.channels.size() &&
      layer.groups.size() == first.groups.size()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "layer {} keeps {} channels and {} groups of heads, layer {} {} and {}: "
      "all must keep the same numbers",
      layer.layer, layer.channels.size(), layer.groups.size(), first.layer,
      first.channels.size(), first.groups.size()));
}

absl::Status RenumberEnds(const std::vector<int32_t>& tokens,
                          std::vector<int32_t>* ends) {
  for (int32_t& end : *ends) {
    const auto at = std::lower_bound(tokens.begin(), tokens.end(), end);
    if (at == tokens.end() || *at != end) {
      return absl::InvalidArgumentError(
          fmt::format("token {} ends a text and must stay", end));
    }
    end = static_cast<int32_t>(at - tokens.begin());
  }
  return absl::OkStatus();
}

}  // namespace

KeptParts EverythingOf(const ModelConfig& config) {
  KeptParts out;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    out.layers.push_back(
        {layer, AllBelow(config.ffn), AllBelow(config.kv_heads)});
  }
  return out;
}

absl::StatusOr<ModelConfig> ConfigOfKept(const ModelConfig& config,
                                         const KeptParts& kept) {
  std::vector<int64_t> layers;
  for (const KeptLayer& layer : kept.layers) layers.push_back(layer.layer);
  EDGETUNE_RETURN_IF_ERROR(CheckAscending(layers, config.layers, "layers"));
  for (const KeptLayer& layer : kept.layers) {
    EDGETUNE_RETURN_IF_ERROR(CheckLayer(config, layer, kept.layers[0]));
  }
  ModelConfig out = config;
  out.layers = static_cast<int64_t>(kept.layers.size());
  out.ffn = static_cast<int64_t>(kept.layers[0].channels.size());
  out.kv_heads = static_cast<int64_t>(kept.layers[0].groups.size());
  out.heads = config.heads / config.kv_heads * out.kv_heads;
  if (!kept.tokens.has_value()) return out;
  EDGETUNE_RETURN_IF_ERROR(
      CheckAscending(*kept.tokens, config.vocab, "tokens"));
  out.vocab = static_cast<int64_t>(kept.tokens->size());
  EDGETUNE_RETURN_IF_ERROR(RenumberEnds(*kept.tokens, &out.end_tokens));
  return out;
}

}  // namespace edgetune
