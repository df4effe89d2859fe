#include <cmath>
#include <cstring>
#include <type_traits>

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

// x becomes exp(scale * x - shift); returns the sum.
HWY_INLINE float Exponentiate(float* x, size_t count, V scale, V shift) {
  return Sum(count, [&](V sum, size_t i, auto at) HWY_ATTR {
    const V e = Exp(hn::MulSub(scale, at.Read(x + i), shift));
    at.Write(e, x + i);
    return hn::Add(sum, at.Or(e, Fill(0.0f)));
  });
}

template <typename T>
void CausalSoftmax(const Rows<float>& scores, size_t first, float scale,
                   const Rows<T>& probabilities, float* log_sum) {
  for (size_t row = 0; row < scores.rows; ++row) {
    const size_t limit = Limit(row, first, scores.width);
    float* exps = scores.row(row);
    const float most = scale * Maximum(exps, limit);
    const float sum = Exponentiate(exps, limit, Fill(scale), Fill(most));
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

HWY_INLINE void Scale(float factor, size_t count, float* x) {
  const V factors = Fill(factor);
  ForLanes(count, [&](size_t i, auto at) HWY_ATTR {
    at.Write(hn::Mul(at.Read(x + i), factors), x + i);
  });
}

// exps = exp(x - shift), unless null; returns their sum.
template <typename T>
HWY_INLINE float ExponentialsBelow(const float* x, size_t count, float shift,
                                   T* exps) {
  const V shifts = Fill(shift);
  if (exps == nullptr) {
    return Sum(count, [&](V sum, size_t i, auto at) HWY_ATTR {
      const V e = Exp(hn::Sub(at.Read(x + i), shifts));
      return hn::Add(sum, at.Or(e, Fill(0.0f)));
    });
  }
  return Sum(count, [&](V sum, size_t i, auto at) HWY_ATTR {
    const V e = Exp(hn::Sub(at.Read(x + i), shifts));
    at.Write(e, exps + i);
    return hn::Add(sum, at.Or(e, Fill(0.0f)));
  });
}

template <typename T>
void AddSoftmaxColumns(const Rows<const float>& logits, const int32_t* targets,
                       int32_t begin, const PartialSoftmax& state,
                       const Rows<float>& collected, const Rows<T>& exps) {
  const auto width = static_cast<int32_t>(logits.width);
  for (size_t row = 0; row < logits.rows; ++row) {
    const float* from = logits.row(row);
    T* out = exps.data == nullptr ? nullptr : exps.row(row);
    float& most = state.most[row];
    const float before = most;
    most = HWY_MAX(most, Maximum(from, logits.width));
    if (most != before) {
      const float factor = std::exp(before - most);
      state.sum[row] *= factor;
      if (out != nullptr) Scale(factor, collected.width, collected.row(row));
    }
    state.sum[row] += ExponentialsBelow(from, logits.width, most, out);
    const int32_t target = targets[row] - begin;
    if (target < 0 || target >= width) continue;
    state.logit[row] = from[target];
    if (out != nullptr) out[target] = FromFloat<T>(0);
  }
}

template <typename T>
SoftmaxKernels<T> Kernels() {
  return {&CausalSoftmax<T>, &CausalSoftmaxGradient<T>, &AddSoftmaxColumns<T>};
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

namespace {
template <typename T>
SoftmaxKernels<T> Kernels() {
  return TableOf<T>(HWY_DYNAMIC_DISPATCH(FloatKernels),
                    HWY_DYNAMIC_DISPATCH(BFloat16Kernels));
}
}  // namespace

template <typename T>
void CausalSoftmax(const Rows<float>& scores, size_t first, float scale,
                   const Rows<T>& probabilities, float* log_sum) {
  Kernels<T>().causal_softmax(scores, first, scale, probabilities, log_sum);
}
template void CausalSoftmax(const Rows<float>&, size_t, float,
                            const Rows<float>&, float*);
template void CausalSoftmax(const Rows<float>&, size_t, float,
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

template <typename T>
void AddSoftmaxColumns(const Rows<const float>& logits, const int32_t* targets,
                       int32_t begin, const PartialSoftmax& state,
                       const Rows<float>& collected, const Rows<T>& exps) {
  Kernels<T>().add_softmax_columns(logits, targets, begin, state, collected,
                                   exps);
}
template void AddSoftmaxColumns(const Rows<const float>&, const int32_t*,
                                int32_t, const PartialSoftmax&,
                                const Rows<float>&, const Rows<float>&);
template void AddSoftmaxColumns(const Rows<const float>&, const int32_t*,
                                int32_t, const PartialSoftmax&,
                                const Rows<float>&, const Rows<BFloat16>&);

}  // namespace edgetune::fused
#endif  // HWY_ONCE
