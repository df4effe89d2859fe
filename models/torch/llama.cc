#include "models/torch/llama.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/status.h"
#include "models/io/model_tensors.h"

namespace edgetune {
namespace {

// Rows de-quantised at a time on their way to bfloat16.
constexpr int64_t kLoadRows = 256;

absl::StatusOr<at::Tensor> ReadTensor(const ModelFile& file,
                                      const std::string& name,
                                      std::vector<int64_t> shape,
                                      at::ScalarType type) {
  const int64_t rows = shape.size() == 1 ? 1 : shape[0];
  const int64_t columns = shape.back();
  at::Tensor out = at::empty({rows, columns}, type);
  at::Tensor buffer;
  for (int64_t begin = 0; begin < rows; begin += kLoadRows) {
    const int64_t n = std::min(kLoadRows, rows - begin);
    at::Tensor target = out.narrow(0, begin, n);
    if (type != at::kFloat) {
      buffer = at::empty({n, columns}, at::kFloat);
    } else {
      buffer = target;
    }
    EDGETUNE_RETURN_IF_ERROR(
        file.ReadRows(name, begin, begin + n,
                      std::span<float>(buffer.data_ptr<float>(),
                                       static_cast<size_t>(n * columns))));
    if (type != at::kFloat) target.copy_(buffer);
  }
  return out.view(shape);
}

int64_t CountOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

std::array<std::vector<int64_t>, kLinears> LinearShapes(const ModelConfig& c) {
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  return {{{q, c.hidden},
           {kv, c.hidden},
           {kv, c.hidden},
           {c.hidden, q},
           {c.ffn, c.hidden},
           {c.ffn, c.hidden},
           {c.hidden, c.ffn}}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Llama>> Llama::Load(const ModelFile& file,
                                                   at::ScalarType type) {
  const at::NoGradGuard no_grad;
  return Build(
      file.config(), type,
      [&](const std::string& name, const std::vector<int64_t>& shape,
          at::ScalarType as) { return ReadTensor(file, name, shape, as); });
}

absl::StatusOr<std::unique_ptr<Llama>> Llama::Over(const ModelConfig& config,
                                                   const at::Tensor& values,
                                                   const at::Tensor& gradient) {
  std::map<std::string, int64_t> offsets;
  int64_t size = 0;
  EDGETUNE_RETURN_IF_ERROR(ForEachTensor(config, [&](const ModelTensor& one) {
    offsets[one.name] = size;
    size += CountOf(one.shape);
    return absl::OkStatus();
  }));
  EDGETUNE_CHECK(values.numel() == size);
  EDGETUNE_CHECK(!gradient.defined() || gradient.numel() == size);
  return Build(config, at::kFloat,
               [&](const std::string& name, const std::vector<int64_t>& shape,
                   at::ScalarType) -> absl::StatusOr<at::Tensor> {
                 const auto cut = [&](const at::Tensor& flat) {
                   return flat.narrow(0, offsets.at(name), CountOf(shape))
                       .view(shape)
                       .detach();
                 };
                 at::Tensor leaf = cut(values);
                 if (gradient.defined()) {
                   leaf.set_requires_grad(true);
                   leaf.mutable_grad() = cut(gradient);
                 }
                 return leaf;
               });
}

absl::StatusOr<std::unique_ptr<Llama>> Llama::Build(const ModelConfig& c,
                                                    at::ScalarType type,
                                                    const WeightFn& weight) {
  auto llama = std::unique_ptr<Llama>(new Llama());
  llama->config_ = c;
  llama->type_ = type;
  const auto read = [&](const std::string& name, std::vector<int64_t> shape,
                        at::ScalarType as) {
    return weight(name + ".weight", shape, as);
  };
  if (!c.rope_divisors.empty()) {
    llama->rope_divisors_ = at::tensor(c.rope_divisors, at::kFloat);
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      llama->embedding_,
      read("model.embed_tokens", {c.vocab, c.hidden}, at::kFloat));
  llama->head_ = llama->embedding_;
  if (!c.tied) {
    EDGETUNE_ASSIGN_OR_RETURN(llama->head_,
                              read("lm_head", {c.vocab, c.hidden}, at::kFloat));
  }
  EDGETUNE_ASSIGN_OR_RETURN(llama->final_norm_,
                            read("model.norm", {c.hidden}, at::kFloat));
  const auto shapes = LinearShapes(c);
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string at = fmt::format("model.layers.{}.", i);
    Layer layer;
    EDGETUNE_ASSIGN_OR_RETURN(
        layer.attention_norm,
        read(at + "input_layernorm", {c.hidden}, at::kFloat));
    EDGETUNE_ASSIGN_OR_RETURN(
        layer.mlp_norm,
        read(at + "post_attention_layernorm", {c.hidden}, at::kFloat));
    for (size_t j = 0; j < kLinears; ++j) {
      const std::string name =
          at + (j < kGate ? "self_attn." : "mlp.") + LoraTargets()[j];
      EDGETUNE_ASSIGN_OR_RETURN(layer.linear[j], read(name, shapes[j], type));
      if (!c.qkv_bias || j > kV) continue;
      EDGETUNE_ASSIGN_OR_RETURN(layer.bias[j],
                                weight(name + ".bias", {shapes[j][0]}, type));
    }
    llama->layers_.push_back(std::move(layer));
  }
  return llama;
}

Llama::Tokens Llama::Pack(std::span<const std::span<const int32_t>> sequences,
                          int64_t first_position) const {
  std::vector<int64_t> ids, positions, lengths;
  for (const auto& sequence : sequences) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    lengths.push_back(static_cast<int64_t>(sequence.size()));
    for (int64_t i = 0; i < lengths.back(); ++i) {
      positions.push_back(first_position + i);
    }
  }
  return {at::tensor(ids, at::kLong),
          MakeRotaryTable(at::tensor(positions, at::kLong), config_.head_dim,
                          config_.rope_theta, rope_divisors_),
          std::move(lengths)};
}

at::Tensor Llama::Apply(size_t layer, Linear linear, const at::Tensor& x,
                        const LoraFactors* lora) const {
  at::Tensor y = at::mm(x, layers_[layer].linear[linear].t());  // [T,out]
  const at::Tensor& bias = layers_[layer].bias[linear];
  if (bias.defined()) y.add_(bias);
  if (lora == nullptr) return y;
  const LoraFactors::Factor& factor = lora->at(layer, linear);
  if (!factor.a.defined()) return y;
  const at::Tensor down = at::mm(x, factor.a.to(type_).t());  // [T,r]
  return y.addmm_(down, factor.b.to(type_).t(), 1.0, factor.scale);
}

at::Tensor Llama::Attention(size_t layer, const at::Tensor& x,
                            const Tokens& tokens, const LoraFactors* lora,
                            KeyValueCache* cache) const {
  const int64_t t = x.size(0), d = config_.head_dim;
  const auto heads = [&](Linear linear, int64_t count) {
    return Apply(layer, linear, x, lora).to(at::kFloat).view({t, count, d});
  };
  const at::Tensor q = Rotate(heads(kQ, config_.heads), tokens.rotary);
  const at::Tensor k = Rotate(heads(kK, config_.kv_heads), tokens.rotary);
  const at::Tensor v = heads(kV, config_.kv_heads);  // [T,K,d]
  at::Tensor out;                                    // [T,H,d]
  if (cache == nullptr) {
    out = CausalAttention(q, k, v, tokens.lengths);
  } else {
    const at::Tensor& keys = cache->keys[layer];
    const at::Tensor& values = cache->values[layer];
    keys.narrow(1, cache->length, t).copy_(k.transpose(0, 1));
    values.narrow(1, cache->length, t).copy_(v.transpose(0, 1));
    out = CachedAttention(q, keys.narrow(1, 0, cache->length + t),
                          values.narrow(1, 0, cache->length + t));
  }
  return Apply(layer, kO, out.reshape({t, config_.heads * d}).to(type_), lora);
}

at::Tensor Llama::Mlp(size_t layer, const at::Tensor& x,
                      const LoraFactors* lora) const {
  const at::Tensor gate = Apply(layer, kGate, x, lora);  // [T,F]
  const at::Tensor up = Apply(layer, kUp, x, lora);      // [T,F]
  return Apply(layer, kDown, SwiGlu(gate, up), lora);
}

at::Tensor Llama::Run(const Tokens& tokens, const LoraFactors* lora,
                      KeyValueCache* cache) const {
  at::Tensor x = embedding_.index_select(0, tokens.ids);  // [T,D] float32
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const at::Tensor before_attention =
        RmsNorm(x, layer.attention_norm, config_.rms_eps, type_);
    x = x + Attention(i, before_attention, tokens, lora, cache);
    const at::Tensor before_mlp =
        RmsNorm(x, layer.mlp_norm, config_.rms_eps, type_);
    x = x + Mlp(i, before_mlp, lora);
  }
  return x;
}

at::Tensor Llama::Hidden(std::span<const std::span<const int32_t>> sequences,
                         const LoraFactors* lora) const {
  return Run(Pack(sequences, /*first_position=*/0), lora, /*cache=*/nullptr);
}

KeyValueCache Llama::MakeCache(int64_t capacity) const {
  KeyValueCache cache;
  for (size_t i = 0; i < layers_.size(); ++i) {
    for (auto* list : {&cache.keys, &cache.values}) {
      list->push_back(at::empty({config_.kv_heads, capacity, config_.head_dim},
                                at::kFloat));
    }
  }
  return cache;
}

at::Tensor Llama::HiddenNext(std::span<const int32_t> ids,
                             const LoraFactors* lora,
                             KeyValueCache& cache) const {
  const at::NoGradGuard no_grad;
  const at::Tensor x = Run(Pack({&ids, 1}, cache.length), lora, &cache);
  cache.length += static_cast<int64_t>(ids.size());
  return x;
}

at::Tensor Llama::NllOf(const at::Tensor& hidden,
                        const at::Tensor& targets) const {
  const at::NoGradGuard no_grad;
  return TokenNll(Normalised(hidden), head_, targets);
}

at::Tensor Llama::SumNllOf(const at::Tensor& hidden,
                           const at::Tensor& targets) const {
  return SumNll(Normalised(hidden), head_, targets);
}

at::Tensor Llama::Normalised(const at::Tensor& hidden) const {
  return RmsNorm(hidden, final_norm_, config_.rms_eps, at::kFloat);
}

at::Tensor Llama::Logits(const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return at::mm(Normalised(hidden), head_.t());
}

}  // namespace edgetune
