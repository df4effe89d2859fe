#ifndef EDGETUNE_MODELS_FUSED_LLAMA_STACK_H_
#define EDGETUNE_MODELS_FUSED_LLAMA_STACK_H_

// Llama for one type of activations; only for llama.cc and llama_stack.cc.

#include <array>
#include <utility>
#include <vector>

#include "models/fused/attention.h"
#include "models/fused/frozen_products.h"
#include "models/fused/head.h"
#include "models/fused/input_watch.h"
#include "models/fused/llama.h"
#include "models/fused/rotary.h"
#include "models/fused/weights.h"

namespace edgetune::fused {

// D hidden, F feed-forward, H query and K key/value heads of d, M tokens, R
// rank of all adapters of a group of linears.
template <typename T>
class LlamaStack final : public Llama {
 public:
  LlamaStack(Weights weights, bool recompute);

  std::vector<float> Nll(const PackedBatch& batch,
                         const LoraFactors* lora) override;
  double AddGradient(const PackedBatch& batch, double weight, Factors trained,
                     LoraFactors& lora) override;
  double AddGradient(const PackedBatch& batch, const LossOfLogits& loss,
                     double weight, Factors trained,
                     LoraFactors& lora) override;
  void Logits(const PackedBatch& batch, std::span<const int32_t> vocabulary,
              const TakeLogits& take) override;
  void Watch(const PackedBatch& batch, const InputWatch::Take& take) override;
  void Reset(size_t capacity) override;
  void Keep(size_t length) override { past_ = length; }
  void Extend(std::span<const int32_t> ids, const LoraFactors* lora,
              size_t block) override;
  std::vector<float> LastLogits() override;
  std::vector<float> NextNll(std::span<const int32_t> next) override;

 private:
  // What a layer leaves behind for its backward pass.
  struct Trace {
    Buffer<float> input, middle;  // x before attention, before MLP [M,D]
    Buffer<T> qkv;                // rotated [M, (H + 2 K) d]
    Buffer<float> log_sums;       // [H,M]
    Buffer<T> attended;           // [M, H d]
    Buffer<T> gate_up;            // [M, 2 F]
    std::array<Buffer<T>, kGroups> down;  // s A x [M,R]
  };
  // Keys and values of one layer so far.
  struct Cache {
    Buffer<T> keys, values;  // [capacity, K d]
  };
  enum class Mode {
    kScore,   // nothing is kept
    kTrain,   // a trace of every layer
    kInputs,  // what comes into every layer
    kAgain,   // the trace of a layer, from its input
    kExtend,  // one sequence goes on, from the cache
  };
  struct Step {
    std::span<const int32_t> ids;     // [M]
    std::span<const size_t> lengths;  // of the sequences
    const LoraFactors* lora;          // may be null
    Mode mode;
    size_t tokens;  // M
    size_t block;   // of them that a product takes
    Rows<float> x;  // the residual stream, or its gradient [M,D]
  };

  static bool Traced(const Step& step) {
    return step.mode == Mode::kTrain || step.mode == Mode::kAgain;
  }
  Step Begin(std::span<const int32_t> ids, std::span<const size_t> lengths,
             const LoraFactors* lora, Mode mode);
  void Run(const Step& step);
  // Fills traces_[0] for a layer of which only the input was kept.
  void RunAgain(const Step& step, size_t layer);
  // Forward and back; `head` is given the last layer's output [M,D], makes its
  // gradient of that, and returns the loss.
  template <typename HeadGradient>
  double Gradient(const PackedBatch& batch, Factors trained, LoraFactors& lora,
                  const HeadGradient& head);
  void AttentionForward(const Step& step, size_t layer, Trace& trace);
  void Attend(const Step& step, size_t layer, const Rows<T>& qkv, Trace& trace);
  void MlpForward(const Step& step, size_t layer, Trace& trace);
  void MlpBackward(const Step& step, size_t layer, Factors trained,
                   LoraFactors& lora, Trace& trace);
  void AttentionBackward(const Step& step, size_t layer, Factors trained,
                         LoraFactors& lora, Trace& trace);

  Rows<T> Norm(const Rows<const float>& x, const Buffer<float>& gain);
  void AddNormGradient(const Buffer<float>& x, const Buffer<float>& gain,
                       const Rows<const float>& dy, const Rows<float>& dx);
  Rows<const T> Narrow(const Rows<float>& x);
  Rows<T> Activate(const Rows<const T>& gate_up);
  void RotateHeads(const Rows<T>& qkv, bool inverse);
  template <typename C>
  void Apply(const Step& step, size_t layer, Group group,
             const Rows<const T>& input, Trace& trace, const Rows<C>& output);

  const Weights weights_;
  const ModelConfig& config_;  // of weights_
  const bool recompute_;
  const HeadShape heads_;
  FrozenProducts<T> products_;
  Attention<T> attention_;
  Head<T> head_;
  RotaryTable rotary_;
  LoraGroup<T> lora_;
  std::vector<Trace> traces_;          // one, or one a layer
  std::vector<Buffer<float>> inputs_;  // one a layer, to compute it again [M,D]
  std::vector<Cache> caches_;          // one a layer, once there was a Reset
  size_t past_ = 0;                    // tokens in them
  size_t extended_ = 0;                // rows of x_ that Extend left
  Buffer<float> x_;                    // [M,D]
  Buffer<float> again_;                // x of RunAgain [M,D]
  Buffer<T> normed_;                   // [M,D]
  Buffer<T> narrow_;                   // [M,D]
  Buffer<float> dnormed_;              // [M,D]
  Buffer<T> activated_;                // [M,F]
  Buffer<T> doutput_;                  // [M, H d] or [M,F]
  Buffer<T> dqkv_;                     // [M, (H + 2 K) d]
  InputWatch watch_;
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_LLAMA_STACK_H_
