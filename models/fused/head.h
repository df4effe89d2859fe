#ifndef EDGETUNE_MODELS_FUSED_HEAD_H_
#define EDGETUNE_MODELS_FUSED_HEAD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/fused/frozen_products.h"
#include "models/fused/loss_of_logits.h"

namespace edgetune::fused {

// The last norm, the projection to the vocabulary and the cross entropy of
// labelled rows. Logits exist for a part of the vocabulary at a time: the
// softmax is normalised as they come, and so is the gradient, which is a sum
// over the vocabulary weighted by exponentials, as attention's output is (Dao
// et al., 2022); the target's own share is kept out and added exactly. D
// hidden, V vocabulary, N labels. One thread at a time; uses the engine's
// threads. `projection` [V,D] and `gain` [D] outlive it.
template <typename T>
class Head {
 public:
  Head(const FrozenMatrix& projection, const float* gain, float epsilon)
      : projection_(projection), gain_(gain), epsilon_(epsilon) {}

  // nll[i] = -log p(tokens[i]) after row rows[i] of x [M,D]; N of each.
  void Nll(const Rows<const float>& x, std::span<const size_t> rows,
           std::span<const int32_t> tokens, std::span<float> nll);

  // Of one row of x [D]: [V]. Valid until the next call.
  std::span<const float> Logits(const float* x);

  // Of many rows, for `vocabulary` alone, or where it is empty all of it:
  // take(i, logits [n,V]) for rows[i] and those behind it, some at a time.
  void Logits(const Rows<const float>& x, std::span<const size_t> rows,
              std::span<const int32_t> vocabulary,
              const std::function<void(size_t, const Rows<float>&)>& take);

  // The sum of nll; and dx [M,D] becomes the gradient of weight * sum: 0 in
  // rows without a label. dx may be x itself.
  double Gradient(const Rows<const float>& x, std::span<const size_t> rows,
                  std::span<const int32_t> tokens, double weight,
                  const Rows<float>& dx);

  // The same of another loss, of all logits after some rows at a time.
  double Gradient(const Rows<const float>& x, std::span<const size_t> rows,
                  const LossOfLogits& loss, double weight,
                  const Rows<float>& dx);

 private:
  // Some of the labels, and the rows of x before them [n,D]; n is rounded up,
  // with rows of zeros, whose results nobody takes.
  struct Chunk {
    Rows<const float> x;
    std::span<const int32_t> tokens;  // [n]
    size_t labels;                    // <= n
  };
  Chunk Collect(const Rows<const float>& x, std::span<const size_t> rows,
                std::span<const int32_t> tokens, size_t begin);
  // The rows of x, at most `most` from rows[begin] on, filled up to a multiple
  // with rows of zeros [n,D].
  Rows<const float> CollectRows(const Rows<const float>& x,
                                std::span<const size_t> rows, size_t begin,
                                size_t most);
  // The projection's rows of a vocabulary, kept until another is asked for.
  Rows<const T> ProjectionOf(std::span<const int32_t> vocabulary);
  void Normalise(const Rows<const float>& x);
  // Of rows that were normalised: [n,V].
  Rows<float> WholeLogits(size_t n);
  // sums_ [n,D] becomes their gradient, given that of the logits.
  void ProjectBack(const Rows<const float>& dlogits);
  // dx becomes dcollected_ at these rows, 0 elsewhere.
  void PutBack(std::span<const size_t> rows, const Rows<float>& dx);
  // Goes over the vocabulary: nll_ [n], and with `gradient` sums_ [n,D].
  void Sweep(const Chunk& chunk, bool gradient);
  // From those, adds to dx [n,D] the gradient of weight * the sum of nll_.
  void AddGradient(const Chunk& chunk, float weight, const Rows<float>& dx);

  const FrozenMatrix& projection_;
  const float* const gain_;
  const float epsilon_;
  Buffer<float> collected_;           // [n,D]
  std::vector<int32_t> tokens_;       // [n]
  Buffer<float> dcollected_;          // [N,D]
  Buffer<T> normed_;                  // [n,D]
  DotVector vector_;                  // of Logits
  Buffer<float> row_;                 // normed, of Logits [D]
  Buffer<T> columns_;                 // some of the projection [columns, D]
  std::vector<int32_t> vocabulary_;   // of Logits, the last time
  Buffer<T> chosen_;                  // its rows of the projection
  Buffer<float> logits_;              // [n, columns], [n,V], or [V]
  Buffer<T> exps_;                    // [n, columns]
  Buffer<float> targets_;             // their rows of the projection [n,D]
  Buffer<float> sums_;                // exps times projection [n,D]
  Buffer<float> most_, sum_, logit_;  // PartialSoftmax [n]
  Buffer<float> nll_;                 // [n]
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_HEAD_H_
