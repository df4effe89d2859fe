#ifndef EDGETUNE_MODELS_FUSED_KERNELS_H_
#define EDGETUNE_MODELS_FUSED_KERNELS_H_

// What the Llama block does between its matrix products, forward and backward,
// vectorised for the processor it runs on (Highway picks at run time). T is
// float or BFloat16: what activations are kept in; sums are float32 always.
//
// Every function works through its rows on the calling thread and touches
// nothing else, so rows can be shared out among threads. `stride`s count
// elements of T from one row to the next. Arrays need no alignment and, but
// for what a function says is done in place, do not overlap. Matrices of one
// call have the same number of rows. A NaN that goes in comes out. Stateless;
// what comes out depends on the input and the instruction set alone.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "models/fused/bfloat16.h"

namespace edgetune::fused {

// A matrix whose rows may lie apart.
template <typename T>
struct Rows {
  T* data = nullptr;
  size_t rows = 0;
  size_t width = 0;
  size_t stride = 0;  // >= width

  T* row(size_t i) const { return data + i * stride; }
  operator Rows<const T>() const  // NOLINT(google-explicit-constructor)
      requires(!std::is_const_v<T>) {
    return {data, rows, width, stride};
  }
};

// out = in, rounded to nearest even where T is BFloat16.
template <typename T>
void Convert(const float* in, size_t count, T* out);
void Widen(const BFloat16* in, size_t count, float* out);
inline void Widen(const float* in, size_t count, float* out) {
  Convert(in, count, out);
}

// Root mean square normalisation (Zhang, Sennrich, 2019):
// y = x / sqrt(mean(x^2) + epsilon) * gain. x [rows, width], gain [width].
template <typename T>
void RmsNorm(const Rows<const float>& x, const float* gain, float epsilon,
             const Rows<T>& y);
// Adds to dx what dy [rows, width], the gradient of y, means for x: with
// n = x / rms and g = gain * dy, dx += (g - n mean(g n)) / rms.
template <typename T>
void AddRmsNormGradient(const Rows<const float>& x, const float* gain,
                        float epsilon, const Rows<const T>& dy,
                        const Rows<float>& dx);

// Rotary embeddings (Su et al., 2021), halves of each head, in place: with
// (a, b) the halves, (a cos - b sin, b cos + a sin); `inverse` turns back,
// which is also the gradient. x: a row a token, of `width` / head_dim heads
// side by side; cosine and sine [rows, head_dim / 2].
template <typename T>
void Rotate(const Rows<T>& x, size_t head_dim, const float* cosine,
            const float* sine, bool inverse);

// silu(gate) * up (Shazeer, 2020). gate_up [rows, 2 F]: gate, then up; out
// [rows, F].
template <typename T>
void SwiGlu(const Rows<const T>& gate_up, const Rows<T>& out);
// gate_up becomes its own gradient, given that of the output, dout [rows, F].
template <typename T>
void SwiGluGradient(const Rows<const T>& dout, const Rows<T>& gate_up);

// Softmax of attention scores [rows, keys] under a causal mask: row i sees
// keys 0 .. first + i, and where a row's limit is below `width` the rest of
// its probabilities are 0. probabilities = exp(scale * scores - log_sum[i]);
// log_sum [rows] is the logarithm of the sum of exponentials. scale > 0.
// Scores beyond a row's limit are not read: `width` need be no more than the
// last row's limit, which spares writing zeros. Scores are worked on in place
// and worth nothing afterwards.
template <typename T>
void CausalSoftmax(const Rows<float>& scores, size_t first, float scale,
                   const Rows<T>& probabilities, float* log_sum);
// The backward pass of the same. From scores and log_sum it computes the
// probabilities P anew (into `probabilities`), and from dp [rows, keys], their
// gradient, and dots[i] = sum of P dp over row i (which is also the product of
// a row's output with its gradient), the gradient of the scores before
// scaling: scale P (dp - dot), 0 beyond the mask.
template <typename T>
void CausalSoftmaxGradient(const Rows<const float>& scores, size_t first,
                           float scale, const float* log_sum,
                           const Rows<const float>& dp, const float* dots,
                           const Rows<T>& probabilities,
                           const Rows<T>& dscores);

// out[i] = sum over a row of a * b.
template <typename T>
void RowDots(const Rows<const T>& a, const Rows<const T>& b, float* out);

// A softmax over rows that come a few columns at a time (online normalisation,
// Milakov, Gimelshein, 2018), one element a row. Starts with `most` at the
// lowest float and `sum` at 0. In the end -log p(target) is log sum + (most -
// logit). Logits may be -infinity.
struct PartialSoftmax {
  float* most;   // greatest logit so far
  float* sum;    // of exp(logit - most)
  float* logit;  // of the target, once its column was there
};
// The next columns, from `begin` on: logits [rows, width]; targets[i] is a
// column of the whole. exps [rows, width] become exp(logit - most), but 0 at
// the target, whose share is for the caller to take exactly; null data: not
// wanted. What was added up of earlier exps, `collected` [rows, any], is scaled
// where `most` grows.
template <typename T>
void AddSoftmaxColumns(const Rows<const float>& logits, const int32_t* targets,
                       int32_t begin, const PartialSoftmax& state,
                       const Rows<float>& collected, const Rows<T>& exps);

// y += x b, for few rows of b: x [rows, r], b [r, width], y [rows, width] of
// float or of T.
template <typename T, typename C>
void AddLowRank(const Rows<const T>& x, const Rows<const float>& b,
                const Rows<C>& y);

// out [width] = the sum of weights[i] times row i.
template <typename T>
void SumRows(const float* weights, const Rows<const T>& rows, float* out);

// The name of the instruction set in use, e.g. "AVX3", for people.
const char* VectorTarget();

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_KERNELS_H_
