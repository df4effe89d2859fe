#include <cmath>
#include <type_traits>

#include "models/fused/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/row_kernels.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/highway.h>

#include "models/fused/kernel_tables.h"
#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

template <typename From, typename To>
HWY_INLINE void Copy(const From* in, size_t count, To* out) {
  ForLanes(count, [&](size_t i, auto at)
                      HWY_ATTR { at.Write(at.Read(in + i), out + i); });
}

template <typename T>
void Convert(const float* in, size_t count, T* out) {
  Copy(in, count, out);
}

void Widen(const BFloat16* in, size_t count, float* out) {
  Copy(in, count, out);
}

template <typename T, typename C>
void AddLowRank(const Rows<const T>& x, const Rows<const float>& b,
                const Rows<C>& y) {
  for (size_t row = 0; row < x.rows; ++row) {
    const T* from = x.row(row);
    C* to = y.row(row);
    ForLanes(y.width, [&](size_t i, auto at) HWY_ATTR {
      V sum = at.Read(to + i);
      for (size_t k = 0; k < x.width; ++k) {
        sum = hn::MulAdd(Fill(ToFloat(from[k])), at.Read(b.row(k) + i), sum);
      }
      at.Write(sum, to + i);
    });
  }
}

template <typename T>
HWY_INLINE float Dot(const T* a, const T* b, size_t count) {
  return Sum(count, [&](V sum, size_t i, auto at) HWY_ATTR {
    return hn::MulAdd(at.Read(a + i), at.Read(b + i), sum);
  });
}

template <typename T>
void RowDots(const Rows<const T>& a, const Rows<const T>& b, float* out) {
  for (size_t row = 0; row < a.rows; ++row) {
    out[row] = Dot(a.row(row), b.row(row), a.width);
  }
}

template <typename T>
void SumRows(const float* weights, const Rows<const T>& rows, float* out) {
  ForLanes(rows.width, [&](size_t i, auto at) HWY_ATTR {
    V even = Fill(0), odd = Fill(0);
    size_t row = 0;
    for (; row + 2 <= rows.rows; row += 2) {
      even = hn::MulAdd(Fill(weights[row]), at.Read(rows.row(row) + i), even);
      odd = hn::MulAdd(Fill(weights[row + 1]), at.Read(rows.row(row + 1) + i),
                       odd);
    }
    if (row < rows.rows) {
      even = hn::MulAdd(Fill(weights[row]), at.Read(rows.row(row) + i), even);
    }
    at.Write(hn::Add(even, odd), out + i);
  });
}

// 1 / rms of a row.
template <typename T>
HWY_INLINE float InverseRms(const T* x, size_t width, float epsilon) {
  return 1.0f / std::sqrt(Dot(x, x, width) / width + epsilon);
}

template <typename T>
void RmsNorm(const Rows<const float>& x, const float* gain, float epsilon,
             const Rows<T>& y) {
  for (size_t row = 0; row < x.rows; ++row) {
    const float* from = x.row(row);
    T* to = y.row(row);
    const V inverse = Fill(InverseRms(from, x.width, epsilon));
    ForLanes(x.width, [&](size_t i, auto at) HWY_ATTR {
      const V n = hn::Mul(at.Read(from + i), inverse);
      at.Write(hn::Mul(n, at.Read(gain + i)), to + i);
    });
  }
}

template <typename T>
HWY_INLINE void AddRowGradient(const float* x, const float* gain, float epsilon,
                               const T* dy, size_t width, float* dx) {
  const float inverse = InverseRms(x, width, epsilon);
  const float along = Sum(width, [&](V sum, size_t i, auto at) HWY_ATTR {
    const V g = hn::Mul(at.Read(gain + i), at.Read(dy + i));
    return hn::MulAdd(g, at.Read(x + i), sum);
  });
  const V of_g = Fill(inverse);
  const V of_x = Fill(inverse * inverse * inverse * along / width);
  ForLanes(width, [&](size_t i, auto at) HWY_ATTR {
    const V g = hn::Mul(at.Read(gain + i), at.Read(dy + i));
    const V sum = hn::MulAdd(g, of_g, at.Read(dx + i));
    at.Write(hn::NegMulAdd(at.Read(x + i), of_x, sum), dx + i);
  });
}

template <typename T>
void AddRmsNormGradient(const Rows<const float>& x, const float* gain,
                        float epsilon, const Rows<const T>& dy,
                        const Rows<float>& dx) {
  for (size_t row = 0; row < x.rows; ++row) {
    AddRowGradient(x.row(row), gain, epsilon, dy.row(row), x.width,
                   dx.row(row));
  }
}

template <typename T>
RowKernels<T> Kernels() {
  return {&Convert<T>,           &AddLowRank<T, float>, &AddLowRank<T, T>,
          &RowDots<T>,           &SumRows<T>,           &RmsNorm<T>,
          &AddRmsNormGradient<T>};
}
RowKernels<float> FloatKernels() { return Kernels<float>(); }
RowKernels<BFloat16> BFloat16Kernels() { return Kernels<BFloat16>(); }

const char* Name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace edgetune::fused {

HWY_EXPORT(FloatKernels);
HWY_EXPORT(BFloat16Kernels);
HWY_EXPORT(Widen);
HWY_EXPORT(Name);

namespace {
template <typename T>
RowKernels<T> Kernels() {
  return TableOf<T>(HWY_DYNAMIC_DISPATCH(FloatKernels),
                    HWY_DYNAMIC_DISPATCH(BFloat16Kernels));
}
}  // namespace

void Widen(const BFloat16* in, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(Widen)(in, count, out);
}

const char* VectorTarget() { return HWY_DYNAMIC_DISPATCH(Name)(); }

template <typename T>
void Convert(const float* in, size_t count, T* out) {
  Kernels<T>().convert(in, count, out);
}
template void Convert(const float*, size_t, float*);
template void Convert(const float*, size_t, BFloat16*);

template <typename T, typename C>
void AddLowRank(const Rows<const T>& x, const Rows<const float>& b,
                const Rows<C>& y) {
  if constexpr (std::is_same_v<C, float>) {
    Kernels<T>().add_low_rank_to_float(x, b, y);
  } else {
    Kernels<T>().add_low_rank(x, b, y);
  }
}
template void AddLowRank(const Rows<const float>&, const Rows<const float>&,
                         const Rows<float>&);
template void AddLowRank(const Rows<const BFloat16>&, const Rows<const float>&,
                         const Rows<float>&);
template void AddLowRank(const Rows<const BFloat16>&, const Rows<const float>&,
                         const Rows<BFloat16>&);

template <typename T>
void RowDots(const Rows<const T>& a, const Rows<const T>& b, float* out) {
  Kernels<T>().row_dots(a, b, out);
}
template void RowDots(const Rows<const float>&, const Rows<const float>&,
                      float*);
template void RowDots(const Rows<const BFloat16>&, const Rows<const BFloat16>&,
                      float*);

template <typename T>
void SumRows(const float* weights, const Rows<const T>& rows, float* out) {
  Kernels<T>().sum_rows(weights, rows, out);
}
template void SumRows(const float*, const Rows<const float>&, float*);
template void SumRows(const float*, const Rows<const BFloat16>&, float*);

template <typename T>
void RmsNorm(const Rows<const float>& x, const float* gain, float epsilon,
             const Rows<T>& y) {
  Kernels<T>().rms_norm(x, gain, epsilon, y);
}
template void RmsNorm(const Rows<const float>&, const float*, float,
                      const Rows<float>&);
template void RmsNorm(const Rows<const float>&, const float*, float,
                      const Rows<BFloat16>&);

template <typename T>
void AddRmsNormGradient(const Rows<const float>& x, const float* gain,
                        float epsilon, const Rows<const T>& dy,
                        const Rows<float>& dx) {
  Kernels<T>().add_rms_norm_gradient(x, gain, epsilon, dy, dx);
}
template void AddRmsNormGradient(const Rows<const float>&, const float*, float,
                                 const Rows<const float>&, const Rows<float>&);
template void AddRmsNormGradient(const Rows<const float>&, const float*, float,
                                 const Rows<const BFloat16>&,
                                 const Rows<float>&);

}  // namespace edgetune::fused
#endif  // HWY_ONCE
