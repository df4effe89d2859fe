#include "models/io/model_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "base/status.h"
#include "models/io/llama_names.h"

namespace edgetune {
namespace {

// q, k and v, which alone may have biases.
constexpr size_t kBiased = 3;

absl::Status VisitLayer(
    const ModelConfig& c, int64_t layer,
    const std::function<absl::Status(const ModelTensor&)>& visit) {
  const std::string gguf = fmt::format("blk.{}.", layer);
  const std::string name = fmt::format("model.layers.{}.", layer);
  EDGETUNE_RETURN_IF_ERROR(visit({name + "input_layernorm.weight",
                                  gguf + "attn_norm.weight",
                                  {c.hidden},
                                  false}));
  EDGETUNE_RETURN_IF_ERROR(visit({name + "post_attention_layernorm.weight",
                                  gguf + "ffn_norm.weight",
                                  {c.hidden},
                                  false}));
  for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
    const LlamaLinear& linear = kLlamaLinears[i];
    const LinearShape shape = LlamaLinearShape(c, i);
    const std::string module = name + linear.module;
    const std::string block = gguf + linear.gguf;
    EDGETUNE_RETURN_IF_ERROR(visit({module + ".weight",
                                    block + ".weight",
                                    {shape.out, shape.in},
                                    linear.rotated && PermutesRows(c)}));
    if (!c.qkv_bias || i >= kBiased) continue;
    EDGETUNE_RETURN_IF_ERROR(
        visit({module + ".bias", block + ".bias", {shape.out}, false}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ForEachTensor(
    const ModelConfig& c,
    const std::function<absl::Status(const ModelTensor&)>& visit) {
  EDGETUNE_RETURN_IF_ERROR(visit({"model.embed_tokens.weight",
                                  "token_embd.weight",
                                  {c.vocab, c.hidden},
                                  false}));
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    EDGETUNE_RETURN_IF_ERROR(VisitLayer(c, layer, visit));
  }
  EDGETUNE_RETURN_IF_ERROR(
      visit({"model.norm.weight", "output_norm.weight", {c.hidden}, false}));
  if (c.tied) return absl::OkStatus();
  return visit({"lm_head.weight", "output.weight", {c.vocab, c.hidden}, false});
}

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

absl::Status CheckRowRange(const TensorInfo& info, int64_t row_begin,
                           int64_t row_end, size_t elements) {
  const int64_t width =
      std::accumulate(info.shape.begin() + (info.shape.size() < 2 ? 0 : 1),
                      info.shape.end(), int64_t{1}, std::multiplies<>());
  if (row_begin >= 0 && row_begin <= row_end && row_end <= info.rows() &&
      elements == static_cast<size_t>((row_end - row_begin) * width)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("rows {} to {} of {} {} do not fit {} elements", row_begin,
                  row_end, info.name, ShapeText(info.shape), elements));
}

absl::Status CheckModelConfig(const ModelConfig& c) {
  const std::pair<const char*, int64_t> sizes[] = {
      {"hidden size", c.hidden},
      {"feed-forward size", c.ffn},
      {"number of layers", c.layers},
      {"number of heads", c.heads},
      {"number of key/value heads", c.kv_heads},
      {"size of a head", c.head_dim},
      {"vocabulary", c.vocab},
      {"context", c.context}};
  for (const auto& [what, size] : sizes) {
    if (size >= 1 && size <= kMaxDimension) continue;
    return absl::InvalidArgumentError(
        fmt::format("the {} is {}, wanted 1 to {}", what, size, kMaxDimension));
  }
  if (c.heads % c.kv_heads != 0 || c.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} heads over {} key/value heads of {} elements cannot "
                    "be grouped and rotated",
                    c.heads, c.kv_heads, c.head_dim));
  }
  for (const double value : {c.rms_eps, c.rope_theta}) {
    if (std::isfinite(value) && value > 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("RMS epsilon {} or RoPE theta {} is not a positive number",
                    c.rms_eps, c.rope_theta));
  }
  return absl::OkStatus();
}

std::vector<float> RopeDivisorsOf(const Llama3RopeScaling& s, double theta,
                                  int64_t head_dim) {
  const auto length = static_cast<double>(s.original_context);
  std::vector<float> out;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent =
        2 * static_cast<double>(i) / static_cast<double>(head_dim);
    const double wave = 2 * std::numbers::pi * std::pow(theta, exponent);
    double divisor = 1;
    if (wave > length / s.low_freq_factor) {
      divisor = s.factor;
    } else if (wave >= length / s.high_freq_factor) {
      const double smooth = (length / wave - s.low_freq_factor) /
                            (s.high_freq_factor - s.low_freq_factor);
      divisor = 1 / ((1 - smooth) / s.factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

std::optional<Llama3RopeScaling> RopeScalingOf(std::span<const float> divisors,
                                               double theta) {
  if (divisors.empty()) return std::nullopt;
  Llama3RopeScaling guess;
  guess.factor = *std::max_element(divisors.begin(), divisors.end());
  guess.low_freq_factor = 1;
  guess.high_freq_factor = 4;
  const auto head_dim = static_cast<int64_t>(2 * divisors.size());
  // 8192 of the published models first: several fit when no frequency lies
  // between the two bounds.
  for (const int64_t length : {8192, 16, 32, 64, 128, 256, 512, 1024, 2048,
                               4096, 16384, 32768, 65536, 131072, 262144}) {
    guess.original_context = length;
    const std::vector<float> made = RopeDivisorsOf(guess, theta, head_dim);
    const bool same = std::equal(
        made.begin(), made.end(), divisors.begin(), [](float a, float b) {
          return std::abs(a - b) <= 1e-5f * std::abs(b);
        });
    if (same) return guess;
  }
  return std::nullopt;
}

}  // namespace edgetune
