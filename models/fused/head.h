#ifndef EDGETUNE_MODELS_FUSED_HEAD_H_
#define EDGETUNE_MODELS_FUSED_HEAD_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "models/fused/buffer.h"

namespace edgetune::fused {

// The last norm, the projection to the vocabulary and the cross entropy of
// labelled rows, a few rows at a time, so that logits of all never exist; the
// gradient is computed beside the loss. D hidden, V vocabulary, N labels. One
// thread at a time; uses the engine's threads. `projection` [V,D] and `gain`
// [D] outlive it.
template <typename T>
class Head {
 public:
  Head(const Rows<const T>& projection, const float* gain, float epsilon)
      : projection_(projection), gain_(gain), epsilon_(epsilon) {}

  // nll[i] = -log p(tokens[i]) after row rows[i] of x [M,D]; N of each.
  void Nll(const Rows<const float>& x, std::span<const size_t> rows,
           std::span<const int32_t> tokens, std::span<float> nll);

  // Of few rows of x: [rows, V]. Valid until the next call.
  Rows<const float> Logits(const Rows<const float>& x);

  // The sum of nll; and dx [M,D] becomes the gradient of weight * sum: 0 in
  // rows without a label. dx may be x itself.
  double Gradient(const Rows<const float>& x, std::span<const size_t> rows,
                  std::span<const int32_t> tokens, double weight,
                  const Rows<float>& dx);

 private:
  // Rows of a chunk, collected from x, and what follows from them.
  Rows<const float> Collect(const Rows<const float>& x,
                            std::span<const size_t> rows);

  const Rows<const T> projection_;
  const float* const gain_;
  const float epsilon_;
  Buffer<float> collected_, dcollected_;  // [chunk,D], [N,D]
  Buffer<T> normed_;                      // [chunk,D]
  Buffer<float> logits_;                  // [chunk,V]
  Buffer<T> dlogits_;                     // [chunk,V]
  Buffer<float> nll_;                     // [chunk]
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_HEAD_H_
