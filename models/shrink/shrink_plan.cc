#include "models/shrink/shrink_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "models/shrink/small_vocabulary.h"

namespace edgetune {
namespace {

absl::Status Refused(const std::string& what, std::string_view hint) {
  return Annotate(absl::InvalidArgumentError(what), ErrorKind::kUsage, hint);
}

// 1 to `most`, and a multiple of `block` unless it is all.
absl::Status CheckCount(std::string_view what, std::optional<int64_t> count,
                        int64_t most, int64_t block) {
  if (!count.has_value() || *count == most) return absl::OkStatus();
  if (*count < 1 || *count > most) {
    return Refused(
        fmt::format("cannot keep {} {}: the model has {}", *count, what, most),
        fmt::format("take {} to {}", std::min(block, most), most));
  }
  if (*count % block == 0) return absl::OkStatus();
  const int64_t above = std::min(most, (*count / block + 1) * block);
  return Refused(
      fmt::format("cannot keep {} {}: they go in {}s", *count, what, block),
      *count < block
          ? fmt::format("take {}", above)
          : fmt::format("take {} or {}", *count / block * block, above));
}

absl::Status CheckTarget(const ModelConfig& config,
                         const ShrinkTarget& target) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckCount("layers", target.layers, config.layers, 1));
  EDGETUNE_RETURN_IF_ERROR(CheckCount("feed-forward channels", target.ffn,
                                      config.ffn, kChannelBlock));
  return CheckCount("attention heads", target.heads, config.heads,
                    config.heads / config.kv_heads);
}

absl::Status CheckEvidence(const ModelConfig& config,
                           const ShrinkEvidence& evidence) {
  EDGETUNE_RETURN_IF_ERROR(CheckInputNorms(config, evidence.norms));
  if (evidence.layers.empty()) return absl::OkStatus();
  if (static_cast<int64_t>(evidence.layers.size()) != config.layers) {
    return absl::InvalidArgumentError(
        fmt::format("{} scores of layers, the model has {}",
                    evidence.layers.size(), config.layers));
  }
  for (const double score : evidence.layers) {
    if (std::isfinite(score)) continue;
    return absl::InvalidArgumentError(
        fmt::format("a layer has the score {}", score));
  }
  return absl::OkStatus();
}

// Chooses with one reader, so that progress goes from nothing to all.
class Chooser {
 public:
  Chooser(const ModelFile& model, const ShrinkTarget& target,
          const ShrinkEvidence& evidence, ReadProgress progress)
      : config_(model.config()),
        evidence_(evidence),
        layers_(target.layers.value_or(config_.layers)),
        ffn_(target.ffn.value_or(config_.ffn)),
        groups_(target.heads.value_or(config_.heads) * config_.kv_heads /
                config_.heads),
        reader_(model, ValuesToRead(), std::move(progress)) {}

  absl::StatusOr<std::vector<KeptLayer>> Choose() {
    std::vector<KeptLayer> whole = EverythingOf(config_).layers, out;
    if (layers_ == config_.layers) {
      out = std::move(whole);
    } else {
      EDGETUNE_ASSIGN_OR_RETURN(const std::vector<double> scores, Layers());
      for (const int64_t layer : LargestOf(scores, layers_)) {
        out.push_back(std::move(whole[layer]));
      }
    }
    for (KeptLayer& layer : out) EDGETUNE_RETURN_IF_ERROR(Narrow(&layer));
    return out;
  }

 private:
  uint64_t ValuesToRead() const {
    const auto hidden = static_cast<uint64_t>(config_.hidden);
    const uint64_t channels = 3 * hidden * config_.ffn;
    const uint64_t heads =
        2 * hidden * config_.head_dim * (config_.heads + config_.kv_heads);
    uint64_t out = 0;
    if (layers_ < config_.layers && evidence_.layers.empty()) {
      out += LinearValuesOf(config_) * config_.layers;
    }
    if (ffn_ < config_.ffn) out += channels * layers_;
    if (groups_ < config_.kv_heads) out += heads * layers_;
    return out;
  }

  absl::StatusOr<std::vector<double>> Layers() {
    if (!evidence_.layers.empty()) return evidence_.layers;
    std::vector<double> out;
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      EDGETUNE_ASSIGN_OR_RETURN(
          out.emplace_back(),
          LayerScore(config_, layer, evidence_.norms, &reader_));
    }
    return out;
  }

  absl::Status Narrow(KeptLayer* layer) {
    if (ffn_ < config_.ffn) {
      EDGETUNE_ASSIGN_OR_RETURN(
          const auto scores,
          ChannelScores(config_, layer->layer, evidence_.norms, &reader_));
      layer->channels = LargestOf(scores, ffn_);
    }
    if (groups_ < config_.kv_heads) {
      EDGETUNE_ASSIGN_OR_RETURN(
          const auto scores,
          GroupScores(config_, layer->layer, evidence_.norms, &reader_));
      layer->groups = LargestOf(scores, groups_);
    }
    return absl::OkStatus();
  }

  const ModelConfig& config_;
  const ShrinkEvidence& evidence_;
  const int64_t layers_, ffn_, groups_;
  WeightReader reader_;
};

}  // namespace

absl::StatusOr<int64_t> ChannelsOfShare(int64_t ffn, double share,
                                        int64_t block) {
  if (!(share > 0 && share < 1)) {
    return Refused(
        fmt::format("cannot keep {} of the feed-forward channels", share),
        "take a number between 0 and 1, such as 0.75");
  }
  const auto blocks = std::llround(share * static_cast<double>(ffn) /
                                   static_cast<double>(block));
  return std::min<int64_t>(ffn, std::max<int64_t>(1, blocks) * block);
}

absl::StatusOr<KeptParts> ChooseParts(const ModelFile& model,
                                      const ShrinkTarget& target,
                                      const ShrinkEvidence& evidence,
                                      ReadProgress progress) {
  const ModelConfig& config = model.config();
  EDGETUNE_RETURN_IF_ERROR(CheckTarget(config, target));
  EDGETUNE_RETURN_IF_ERROR(CheckEvidence(config, evidence));
  KeptParts out;
  EDGETUNE_ASSIGN_OR_RETURN(
      out.layers,
      Chooser(model, target, evidence, std::move(progress)).Choose());
  if (!target.tokens.has_value()) return out;
  const TokenizerData& data = model.tokenizer().data();
  for (const int32_t id : *target.tokens) {
    if (id >= 0 && static_cast<size_t>(id) < data.tokens.size()) continue;
    return absl::InvalidArgumentError(fmt::format(
        "token {} is outside the vocabulary of {}", id, data.tokens.size()));
  }
  out.tokens = CloseTokens(data, config.end_tokens, *target.tokens);
  return out;
}

}  // namespace edgetune
