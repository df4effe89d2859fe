#ifndef EDGETUNE_MODELS_TORCH_OPERATORS_H_
#define EDGETUNE_MODELS_TORCH_OPERATORS_H_

// The parts of the Llama block that are not matrix products, differentiable
// in their activations; the normalisation in its weight too. Each saves for the
// backward pass only what it cannot cheaply compute again. Torch-only header:
// included by torch .cc files alone.
//
// T tokens of all sequences one after the other (no padding), D hidden, F
// feed-forward, H query and K key/value heads of d, S length of one sequence,
// C keys seen, N labelled positions, V vocabulary.

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace edgetune {

// Root mean square normalisation (Zhang, Sennrich, 2019), computed in float32
// and returned in `type`: x / sqrt(mean(x^2) + eps) * weight. x [T,D] float32,
// weight [D] float32.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps,
                   at::ScalarType type);

// Angles of rotary embeddings (Su et al., 2021): cosine and sine [T,1,d/2].
// Frequencies are divided by `divisors` [d/2], unless that is undefined.
struct RotaryTable {
  at::Tensor cosine, sine;
};
RotaryTable MakeRotaryTable(const at::Tensor& positions, int64_t head_dim,
                            double theta, const at::Tensor& divisors);
// Rotates halves: (a, b) -> (a cos - b sin, b cos + a sin). x [T,H,d] float32.
at::Tensor Rotate(const at::Tensor& x, const RotaryTable& table);

// Causal attention inside each sequence; query head h reads key/value head
// h / (H/K). q [T,H,d], k and v [T,K,d] float32 -> [T,H,d]. The probabilities
// are computed twice and never kept.
at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v,
                           const std::vector<int64_t>& lengths);

// The last S of C positions look at all C, without gradient. q [S,H,d], k and
// v [K,C,d] -> [S,H,d].
at::Tensor CachedAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v);

// silu(gate) * up (Shazeer, 2020). Both [T,F], any type.
at::Tensor SwiGlu(const at::Tensor& gate, const at::Tensor& up);

// -log softmax(hidden head^T)[target] for each row, without gradient. hidden
// [N,D] and head [V,D] float32, targets [N] int64 -> [N]. Logits exist for a
// few rows at a time.
at::Tensor TokenNll(const at::Tensor& hidden, const at::Tensor& head,
                    const at::Tensor& targets);
// The sum of TokenNll, differentiable in `hidden`: the gradient is computed
// beside the loss, chunk by chunk, so that no logits outlive their chunk.
at::Tensor SumNll(const at::Tensor& hidden, const at::Tensor& head,
                  const at::Tensor& targets);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_OPERATORS_H_
