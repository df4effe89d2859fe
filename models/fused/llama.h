#ifndef EDGETUNE_MODELS_FUSED_LLAMA_H_
#define EDGETUNE_MODELS_FUSED_LLAMA_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "models/calibrator.h"
#include "models/fused/kernels.h"
#include "models/fused/lora.h"
#include "models/fused/loss_of_logits.h"
#include "models/io/model_file.h"

namespace edgetune::fused {

// Sequences one after the other, without padding, and what is to be predicted:
// after the token in row label_rows[i] comes label_tokens[i]. All sizes > 0,
// ids within the vocabulary, no sequence longer than the context.
struct PackedBatch {
  std::vector<int32_t> tokens;  // [M]
  std::vector<size_t> lengths;  // sum M
  std::vector<size_t> label_rows;
  std::vector<int32_t> label_tokens;
};

// Llama (Touvron et al., 2023) or Qwen2 (Yang et al., 2024) with frozen
// weights and an adapter: what models/torch/llama.h computes, forward and
// backward by hand. No gradient of a frozen weight and no input kept for one;
// of a layer's activations those are kept that cost a product to compute again.
// Residual stream, norms and sums are float32; products and what is kept
// between them are float32 or bfloat16. Attention never mixes sequences.
//
// Working memory grows to the largest batch seen and stays. The same result
// for the same threads (UseThreads of parallel.h, for the calling thread). One
// thread at a time. Throws std::bad_alloc when memory runs out.
class Llama {
 public:
  struct Options {
    bool bf16 = false;  // products in bfloat16, else float32
    // Products with the frozen linears of several tokens in 8 bits both ways
    // (int8_product.h); embedding, head, attention and adapters stay.
    bool int8 = false;
    // Every matrix converted once, instead of for each use where the file
    // stores it in fewer bytes.
    bool copy_weights = false;
    // Of a layer, what comes in is all that is kept for the way back.
    bool recompute = false;
  };
  // FailedPrecondition: this processor cannot multiply bfloat16.
  static absl::StatusOr<std::unique_ptr<Llama>> Load(
      std::shared_ptr<const ModelFile> file, const Options& options);
  virtual ~Llama() = default;

  // -log p of each label; `lora` may be null.
  virtual std::vector<float> Nll(const PackedBatch& batch,
                                 const LoraFactors* lora) = 0;

  // The sum of the same, and adds the gradient of weight * sum to lora's, for
  // the factors that are trained.
  virtual double AddGradient(const PackedBatch& batch, double weight,
                             Factors trained, LoraFactors& lora) = 0;
  // As that, of another loss of the logits after each labelled row
  // (loss_of_logits.h); what the labels are does not matter.
  virtual double AddGradient(const PackedBatch& batch, const LossOfLogits& loss,
                             double weight, Factors trained,
                             LoraFactors& lora) = 0;

  // The logits after each labelled row, of `vocabulary` alone in its order, or
  // where that is empty of every token: take(i, logits [n,V]) for the labels
  // from the i-th on, some at a time, in order. They are gone when it returns,
  // which it may do changed. What the labels are does not matter.
  using TakeLogits =
      std::function<void(size_t first, const Rows<float>& logits)>;
  virtual void Logits(const PackedBatch& batch,
                      std::span<const int32_t> vocabulary,
                      const TakeLogits& take) = 0;

  // Tells of every place of every layer, in order, what stands there for all
  // tokens of the batch; labels do not matter.
  virtual void Watch(const PackedBatch& batch,
                     const std::function<void(const ObservedInput&)>& take) = 0;

  // One sequence, a few tokens at a time. Reset makes room for `capacity`
  // tokens and forgets those before; Keep forgets all but the first `length`.
  virtual void Reset(size_t capacity) = 0;
  virtual void Keep(size_t length) = 0;
  // Appends ids, which must fit. Products take `block` tokens at a time: the
  // same, bit for bit, as so many ids after each other.
  virtual void Extend(std::span<const int32_t> ids, const LoraFactors* lora,
                      size_t block) = 0;
  // Logits [V] after the last of the ids that Extend was given last, and -log p
  // of next[i] after the i-th of them, for as many as `next` has.
  virtual std::vector<float> LastLogits() = 0;
  virtual std::vector<float> NextNll(std::span<const int32_t> next) = 0;
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_LLAMA_H_
