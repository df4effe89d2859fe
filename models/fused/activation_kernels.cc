#include <type_traits>

#include "models/fused/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/activation_kernels.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/highway.h>

#include "models/fused/exp-inl.h"
#include "models/fused/kernel_tables.h"
#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

// One head, in place; `turn` is 1, or -1 to turn back.
template <typename T>
HWY_INLINE void RotateHead(T* head, size_t half, const float* cosine,
                           const float* sine, V turn) {
  ForLanes(half, [&](size_t i, auto at) HWY_ATTR {
    const V a = at.Read(head + i);
    const V b = at.Read(head + half + i);
    const V cos = at.Read(cosine + i);
    const V sin = hn::Mul(at.Read(sine + i), turn);
    at.Write(hn::NegMulAdd(b, sin, hn::Mul(a, cos)), head + i);
    at.Write(hn::MulAdd(a, sin, hn::Mul(b, cos)), head + half + i);
  });
}

template <typename T>
void Rotate(const Rows<T>& x, size_t head_dim, const float* cosine,
            const float* sine, bool inverse) {
  const size_t half = head_dim / 2;
  const V turn = Fill(inverse ? -1.0f : 1.0f);
  for (size_t row = 0; row < x.rows; ++row) {
    for (size_t at = 0; at + head_dim <= x.width; at += head_dim) {
      RotateHead(x.row(row) + at, half, cosine + row * half, sine + row * half,
                 turn);
    }
  }
}

// The logistic function, from the exponential of what is below 0, so that
// nothing overflows on either side.
HWY_INLINE V Sigmoid(V x) {
  const V one = Fill(1.0f);
  const V small = Exp(hn::Or(x, Fill(-0.0f)));
  const V above = hn::IfThenElse(hn::Lt(x, Fill(0.0f)), small, one);
  return hn::Div(above, hn::Add(one, small));
}

template <typename T>
void SwiGlu(const Rows<const T>& gate_up, const Rows<T>& out) {
  for (size_t row = 0; row < out.rows; ++row) {
    const T* gates = gate_up.row(row);
    const T* ups = gates + out.width;
    T* to = out.row(row);
    ForLanes(out.width, [&](size_t i, auto at) HWY_ATTR {
      const V gate = at.Read(gates + i);
      const V silu = hn::Mul(gate, Sigmoid(gate));
      at.Write(hn::Mul(silu, at.Read(ups + i)), to + i);
    });
  }
}

template <typename T>
void SwiGluGradient(const Rows<const T>& dout, const Rows<T>& gate_up) {
  for (size_t row = 0; row < dout.rows; ++row) {
    const T* douts = dout.row(row);
    T* gates = gate_up.row(row);
    T* ups = gates + dout.width;
    ForLanes(dout.width, [&](size_t i, auto at) HWY_ATTR {
      const V gate = at.Read(gates + i);
      const V d = at.Read(douts + i);
      const V sigmoid = Sigmoid(gate);
      const V silu = hn::Mul(gate, sigmoid);
      // silu' = sigmoid + silu (1 - sigmoid).
      const V slope = hn::MulAdd(silu, hn::Sub(Fill(1.0f), sigmoid), sigmoid);
      const V dup = hn::Mul(d, silu);
      const V dgate = hn::Mul(hn::Mul(d, at.Read(ups + i)), slope);
      at.Write(dgate, gates + i);
      at.Write(dup, ups + i);
    });
  }
}

template <typename T>
ActivationKernels<T> Kernels() {
  return {&Rotate<T>, &SwiGlu<T>, &SwiGluGradient<T>};
}
ActivationKernels<float> FloatKernels() { return Kernels<float>(); }
ActivationKernels<BFloat16> BFloat16Kernels() { return Kernels<BFloat16>(); }

}  // namespace
}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace edgetune::fused {

HWY_EXPORT(FloatKernels);
HWY_EXPORT(BFloat16Kernels);

namespace {
template <typename T>
ActivationKernels<T> Kernels() {
  return TableOf<T>(HWY_DYNAMIC_DISPATCH(FloatKernels),
                    HWY_DYNAMIC_DISPATCH(BFloat16Kernels));
}
}  // namespace

template <typename T>
void Rotate(const Rows<T>& x, size_t head_dim, const float* cosine,
            const float* sine, bool inverse) {
  Kernels<T>().rotate(x, head_dim, cosine, sine, inverse);
}
template void Rotate(const Rows<float>&, size_t, const float*, const float*,
                     bool);
template void Rotate(const Rows<BFloat16>&, size_t, const float*, const float*,
                     bool);

template <typename T>
void SwiGlu(const Rows<const T>& gate_up, const Rows<T>& out) {
  Kernels<T>().swi_glu(gate_up, out);
}
template void SwiGlu(const Rows<const float>&, const Rows<float>&);
template void SwiGlu(const Rows<const BFloat16>&, const Rows<BFloat16>&);

template <typename T>
void SwiGluGradient(const Rows<const T>& dout, const Rows<T>& gate_up) {
  Kernels<T>().swi_glu_gradient(dout, gate_up);
}
template void SwiGluGradient(const Rows<const float>&, const Rows<float>&);
template void SwiGluGradient(const Rows<const BFloat16>&,
                             const Rows<BFloat16>&);

}  // namespace edgetune::fused
#endif  // HWY_ONCE
