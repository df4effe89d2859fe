#ifndef EDGETUNE_MODELS_TORCH_LLAMA_H_
#define EDGETUNE_MODELS_TORCH_LLAMA_H_

// Torch-only header: included by torch .cc files alone.

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/torch/lora.h"
#include "models/torch/operators.h"

namespace edgetune {

// Keys and values of one sequence so far. Made by Llama::MakeCache.
struct KeyValueCache {
  int64_t length = 0;                    // positions filled
  std::vector<at::Tensor> keys, values;  // one a layer, [K,capacity,d] float32
};

// Llama (Touvron et al., 2023): grouped-query attention,
// rotate-half rotary embeddings (stretched as in Llama 3, if asked for),
// RMSNorm, SwiGLU, tied or separate head; and Qwen2 (Yang et al., 2024), which
// is the same with biases on q, k and v. The
// clear reference: whoever wants to know what the fused engine must compute
// reads this. Linear layers run in bfloat16 or float32; residual stream,
// norms, attention, head and loss always in float32.
//
// Sequences are packed one after the other without padding: linears see [T,D]
// of all tokens, attention runs sequence by sequence. The weights of Load are
// frozen: gradients flow to the LoRA factors only. Those of Over are trained.
// Immutable but for these; at most one thread at a time since the caller's
// thread count is used.
class Llama {
 public:
  // De-quantises every weight into memory. Errors are those of ReadRows.
  static absl::StatusOr<std::unique_ptr<Llama>> Load(const ModelFile& file,
                                                     at::ScalarType type);

  // All weights are views of `values`, one after the other in the order of
  // ForEachTensor (models/io/model_tensors.h), float32; with `gradient` defined
  // each is a leaf whose gradient is a view of that. Both [n], kept.
  static absl::StatusOr<std::unique_ptr<Llama>> Over(
      const ModelConfig& config, const at::Tensor& values,
      const at::Tensor& gradient);

  // Hidden states [T,D] before the last norm; differentiable in the factors
  // when grad mode is on. `lora` may be null. Ids are within the vocabulary.
  at::Tensor Hidden(std::span<const std::span<const int32_t>> sequences,
                    const LoraFactors* lora) const;

  // The same for the next tokens of one sequence, without gradient: [S,D].
  KeyValueCache MakeCache(int64_t capacity) const;
  at::Tensor HiddenNext(std::span<const int32_t> ids, const LoraFactors* lora,
                        KeyValueCache& cache) const;

  // From rows of hidden states [N,D] and the tokens that follow them [N].
  at::Tensor NllOf(const at::Tensor& hidden, const at::Tensor& targets) const;
  at::Tensor SumNllOf(const at::Tensor& hidden,
                      const at::Tensor& targets) const;
  at::Tensor Logits(const at::Tensor& hidden) const;  // [N,V]
  // What the head is multiplied with, and the head; both differentiable.
  at::Tensor Normalised(const at::Tensor& hidden) const;  // [N,D]
  const at::Tensor& head() const { return head_; }        // [V,D] float32

 private:
  struct Layer {
    at::Tensor attention_norm, mlp_norm;      // [D] float32
    std::array<at::Tensor, kLinears> linear;  // [out,in], compute type
    std::array<at::Tensor, kLinears> bias;    // [out] likewise, or undefined
  };
  struct Tokens {
    at::Tensor ids;  // [T] int64
    RotaryTable rotary;
    std::vector<int64_t> lengths;  // of the sequences; sum T
  };

  // The weight of this name and shape, in a type where that is compute type.
  using WeightFn = std::function<absl::StatusOr<at::Tensor>(
      const std::string& name, const std::vector<int64_t>& shape,
      at::ScalarType type)>;

  Llama() = default;
  static absl::StatusOr<std::unique_ptr<Llama>> Build(const ModelConfig& config,
                                                      at::ScalarType type,
                                                      const WeightFn& weight);
  Tokens Pack(std::span<const std::span<const int32_t>> sequences,
              int64_t first_position) const;
  at::Tensor Run(const Tokens& tokens, const LoraFactors* lora,
                 KeyValueCache* cache) const;
  at::Tensor Attention(size_t layer, const at::Tensor& x, const Tokens& tokens,
                       const LoraFactors* lora, KeyValueCache* cache) const;
  at::Tensor Mlp(size_t layer, const at::Tensor& x,
                 const LoraFactors* lora) const;
  at::Tensor Apply(size_t layer, Linear linear, const at::Tensor& x,
                   const LoraFactors* lora) const;

  ModelConfig config_;
  at::ScalarType type_ = at::kFloat;
  at::Tensor embedding_;      // [V,D] float32
  at::Tensor head_;           // [V,D] float32, the embedding when tied
  at::Tensor final_norm_;     // [D] float32
  at::Tensor rope_divisors_;  // [d/2] float32, or undefined
  std::vector<Layer> layers_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_LLAMA_H_
