#ifndef EDGETUNE_MODELS_FUSED_ATTENTION_H_
#define EDGETUNE_MODELS_FUSED_ATTENTION_H_

// Causal grouped-query attention (Ainslie et al., 2023) over packed sequences,
// a block of queries at a time, so that scores of a block alone exist and
// memory grows with the longest sequence, not with its square; the backward
// pass computes them anew from the logarithms of the softmax's sums, as in
// FlashAttention (Dao et al., 2022).

#include <cstddef>
#include <span>
#include <vector>

#include "models/fused/block_kernels.h"
#include "models/fused/buffer.h"

namespace edgetune::fused {

// H query and K key/value heads of d; H / K query heads share a key/value head.
struct HeadShape {
  size_t heads = 0, kv_heads = 0, dim = 0;

  size_t query_width() const { return heads * dim; }
  size_t kv_width() const { return kv_heads * dim; }
  size_t width() const { return query_width() + 2 * kv_width(); }
};

// Holds the scores that are being worked on; one instance serves one model.
// One thread at a time calls it; it uses the engine's threads.
template <typename T>
class Attention {
 public:
  explicit Attention(const HeadShape& shape) : shape_(shape) {}

  // qkv [M, (H + 2 K) d]: queries, keys, values, already rotated, of
  // sequences of these lengths (sum M) one after the other. out [M, H d].
  // log_sums [H, M] is for Backward.
  void Forward(const Rows<const T>& qkv, std::span<const size_t> lengths,
               const Rows<T>& out, float* log_sums);

  // The same for the next n tokens of one sequence, of which `past` came
  // before: queries [n, H d], of which products take `block` at a time; keys
  // and values [past + n, K d] of all.
  void Extend(const Rows<const T>& queries, const Rows<const T>& keys,
              const Rows<const T>& values, size_t block, const Rows<T>& out);

  // dqkv [M, (H + 2 K) d], the gradient of qkv, given dout, that of `out`.
  void Backward(const Rows<const T>& qkv, std::span<const size_t> lengths,
                const Rows<const T>& out, const float* log_sums,
                const Rows<const T>& dout, const Rows<T>& dqkv);

 private:
  // What one thread works with: heads of one sequence of n tokens, taken out of
  // the rows of all heads, for oneDNN has no fast kernels for matrices with
  // gaps; and a block of scores.
  struct Scratch {
    Buffer<T> query, key, value, out;      // [n,d]
    Buffer<T> dout, dquery;                // [n,d]
    Buffer<float> dkey, dvalue;            // [n,d]
    Buffer<float> scores, dprobabilities;  // [block, keys]
    Buffer<T> probabilities, dscores;      // [block, keys]
    Buffer<float> dots, log_sums;          // [n]
    DotVector query_vector;                // of ExtendOne
    Buffer<float> one;                     // ExtendOne: query, result [d]
    Buffer<float> weights;                 // and probabilities [keys]
  };
  struct Sequence {
    size_t begin, length;
  };

  // Extend for a single query, whose scores are products of vectors.
  void ExtendOne(const T* query, const Rows<const T>& keys,
                 const Rows<const T>& values, T* out);
  // Room for sequences of these lengths, or for so many new tokens of one.
  void Prepare(std::span<const size_t> lengths, bool backward);
  void Reserve(size_t queries, size_t keys, bool backward);
  // One head, from scratch.{query,key,value} to scratch.{out,log_sums}.
  void ForwardHead(size_t queries, size_t keys, size_t block,
                   Scratch& scratch) const;
  // One head of n tokens: adds to scratch.{dkey,dvalue}, sets scratch.dquery.
  void BackwardHead(size_t n, Scratch& scratch) const;
  void BackwardGroup(const Rows<const T>& qkv, const Sequence& sequence,
                     size_t kv_head, const Rows<const T>& out,
                     const float* log_sums, const Rows<const T>& dout,
                     const Rows<T>& dqkv, Scratch& scratch) const;

  const HeadShape shape_;
  std::vector<Sequence> sequences_;
  std::vector<Scratch> scratch_;  // one a thread
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_ATTENTION_H_
