#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "models/fused/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/softmax_kernels.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/highway.h>

#include "models/fused/exp-inl.h"
#include "models/fused/kernel_tables.h"
#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

// The smallest where there is none; finite, so that -infinity may stand in x.
constexpr float kLeast = hwy::LowestValue<float>();

HWY_INLINE float Maximum(const float* x, size_t count) {
  const V least = Fill(kLeast);
  const V found = Fold(
      count, least,
      [&](V most, size_t i, auto at)
          HWY_ATTR { return hn::Max(most, at.Or(at.Read(x + i), least)); },
      [](V a, V b) HWY_ATTR { return hn::Max(a, b); });
  return hn::GetLane(hn::MaxOfLanes(F32(), found));
}

// What a row of the causal mask sees.
HWY_INLINE size_t Limit(size_t row, size_t first, size_t width) {
  return HWY_MIN(first + row + 1, width);
}

// 0, whose bits are 0 in either T, from `limit` to `width`.
template <typename T>
HWY_INLINE void Clear(T* row, size_t limit, size_t width) {
  std::memset(static_cast<void*>(row + limit), 0, (width - limit) * sizeof(T));
}

// exps = exp(scale * scores - shift); returns their sum.
HWY_INLINE float Exponentials(const float* scores, size_t count, V scale,
                              V shift, float* exps) {
  return Sum(count, [&](V sum, size_t i, auto at) HWY_ATTR {
    const V x = hn::MulSub(scale, at.Read(scores + i), shift);
    const V e = at.Or(Exp(x), Fill(0.0f));
    at.Write(e, exps + i);
    return hn::Add(sum, e);
  });
}

// `exps` holds one row.
template <typename T>
void CausalSoftmax(const Rows<const float>& scores, size_t first, float scale,
                   const Rows<T>& probabilities, float* log_sum, float* exps) {
  for (size_t row = 0; row < scores.rows; ++row) {
    const size_t limit = Limit(row, first, scores.width);
    const float most = scale * Maximum(scores.row(row), limit);
    const float sum =
        Exponentials(scores.row(row), limit, Fill(scale), Fill(most), exps);
    log_sum[row] = most + std::log(sum);
    T* out = probabilities.row(row);
    const V inverse = Fill(1.0f / sum);
    ForLanes(limit, [&](size_t i, auto at) HWY_ATTR {
      at.Write(hn::Mul(at.Read(exps + i), inverse), out + i);
    });
    Clear(out, limit, scores.width);
  }
}

template <typename T>
void CausalSoftmaxGradient(const Rows<const float>& scores, size_t first,
                           float scale, const float* log_sum,
                           const Rows<const float>& dp, const float* dots,
                           const Rows<T>& probabilities,
                           const Rows<T>& dscores) {
  for (size_t row = 0; row < scores.rows; ++row) {
    const size_t limit = Limit(row, first, scores.width);
    const float* from = scores.row(row);
    const float* dps = dp.row(row);
    T* ps = probabilities.row(row);
    T* ds = dscores.row(row);
    const V scales = Fill(scale), shift = Fill(log_sum[row]);
    const V dot = Fill(dots[row]);
    ForLanes(limit, [&](size_t i, auto at) HWY_ATTR {
      const V p = Exp(hn::MulSub(scales, at.Read(from + i), shift));
      const V centred = hn::Sub(at.Read(dps + i), dot);
      at.Write(p, ps + i);
      at.Write(hn::Mul(hn::Mul(p, scales), centred), ds + i);
    });
    Clear(ps, limit, scores.width);
    Clear(ds, limit, scores.width);
  }
}

// log sum exp(x) in two parts, so that what is near the maximum loses nothing.
struct LogSum {
  float most;
  float rest;
};

// A block that fits the first cache at a time: the sum so far is scaled down
// whenever a block has a greater maximum.
HWY_INLINE LogSum LogSumOf(const float* x, size_t count) {
  constexpr size_t kBlock = 4096;
  float most = kLeast, sum = 0;
  for (size_t start = 0; start < count; start += kBlock) {
    const float* block = x + start;
    const size_t size = HWY_MIN(kBlock, count - start);
    const float before = most;
    most = HWY_MAX(most, Maximum(block, size));
    sum *= std::exp(before - most);
    const V shift = Fill(most);
    sum += Sum(size, [&](V so_far, size_t i, auto at) HWY_ATTR {
      const V e = Exp(hn::Sub(at.Read(block + i), shift));
      return hn::Add(so_far, at.Or(e, Fill(0.0f)));
    });
  }
  return {most, std::log(sum)};
}

HWY_INLINE float Nll(const LogSum& sum, float logit) {
  return sum.rest + (sum.most - logit);
}

void CrossEntropy(const Rows<const float>& logits, const int32_t* targets,
                  float* nll) {
  for (size_t row = 0; row < logits.rows; ++row) {
    const float* from = logits.row(row);
    nll[row] = Nll(LogSumOf(from, logits.width), from[targets[row]]);
  }
}

template <typename T>
void CrossEntropyGradient(const Rows<const float>& logits,
                          const int32_t* targets, float weight, float* nll,
                          const Rows<T>& gradient) {
  for (size_t row = 0; row < logits.rows; ++row) {
    const float* from = logits.row(row);
    T* out = gradient.row(row);
    const LogSum sum = LogSumOf(from, logits.width);
    const V shift = Fill(sum.most + sum.rest), weights = Fill(weight);
    nll[row] = Nll(sum, from[targets[row]]);
    ForLanes(logits.width, [&](size_t i, auto at) HWY_ATTR {
      const V p = Exp(hn::Sub(at.Read(from + i), shift));
      at.Write(hn::Mul(p, weights), out + i);
    });
    // exp(-nll) - 1 without the cancellation.
    out[targets[row]] = FromFloat<T>(weight * std::expm1(-nll[row]));
  }
}

template <typename T>
SoftmaxKernels<T> Kernels() {
  return {&CausalSoftmax<T>, &CausalSoftmaxGradient<T>,
          &CrossEntropyGradient<T>};
}
SoftmaxKernels<float> FloatKernels() { return Kernels<float>(); }
SoftmaxKernels<BFloat16> BFloat16Kernels() { return Kernels<BFloat16>(); }

}  // namespace
}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace edgetune::fused {

HWY_EXPORT(FloatKernels);
HWY_EXPORT(BFloat16Kernels);
HWY_EXPORT(CrossEntropy);

namespace {
template <typename T>
SoftmaxKernels<T> Kernels() {
  if constexpr (std::is_same_v<T, float>) {
    return HWY_DYNAMIC_DISPATCH(FloatKernels)();
  } else {
    return HWY_DYNAMIC_DISPATCH(BFloat16Kernels)();
  }
}
}  // namespace

template <typename T>
void CausalSoftmax(const Rows<const float>& scores, size_t first, float scale,
                   const Rows<T>& probabilities, float* log_sum) {
  std::vector<float> exps(scores.width);
  Kernels<T>().causal_softmax(scores, first, scale, probabilities, log_sum,
                              exps.data());
}
template void CausalSoftmax(const Rows<const float>&, size_t, float,
                            const Rows<float>&, float*);
template void CausalSoftmax(const Rows<const float>&, size_t, float,
                            const Rows<BFloat16>&, float*);

template <typename T>
void CausalSoftmaxGradient(const Rows<const float>& scores, size_t first,
                           float scale, const float* log_sum,
                           const Rows<const float>& dp, const float* dots,
                           const Rows<T>& probabilities,
                           const Rows<T>& dscores) {
  Kernels<T>().causal_softmax_gradient(scores, first, scale, log_sum, dp, dots,
                                       probabilities, dscores);
}
template void CausalSoftmaxGradient(const Rows<const float>&, size_t, float,
                                    const float*, const Rows<const float>&,
                                    const float*, const Rows<float>&,
                                    const Rows<float>&);
template void CausalSoftmaxGradient(const Rows<const float>&, size_t, float,
                                    const float*, const Rows<const float>&,
                                    const float*, const Rows<BFloat16>&,
                                    const Rows<BFloat16>&);

void CrossEntropy(const Rows<const float>& logits, const int32_t* targets,
                  float* nll) {
  HWY_DYNAMIC_DISPATCH(CrossEntropy)(logits, targets, nll);
}

template <typename T>
void CrossEntropyGradient(const Rows<const float>& logits,
                          const int32_t* targets, float weight, float* nll,
                          const Rows<T>& gradient) {
  Kernels<T>().cross_entropy_gradient(logits, targets, weight, nll, gradient);
}
template void CrossEntropyGradient(const Rows<const float>&, const int32_t*,
                                   float, float*, const Rows<float>&);
template void CrossEntropyGradient(const Rows<const float>&, const int32_t*,
                                   float, float*, const Rows<BFloat16>&);

}  // namespace edgetune::fused
#endif  // HWY_ONCE
