// The exponential function of lanes of float32; see lanes-inl.h on the guard.

// clang-format off
#if defined(EDGETUNE_MODELS_FUSED_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
// clang-format on
#ifdef EDGETUNE_MODELS_FUSED_EXP_INL_H_
#undef EDGETUNE_MODELS_FUSED_EXP_INL_H_
#else
#define EDGETUNE_MODELS_FUSED_EXP_INL_H_
#endif

#include <hwy/highway.h>

#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {

// exp(x) for x <= 88, to 4e-7 of its value; 0 below -87.3, where float32
// leaves its normal numbers; NaN of NaN. x = n ln 2 + r with n the nearest
// integer, so exp(x) = 2^n exp(r), |r| <= ln(2) / 2. exp(r) is the polynomial
// 1 + r + r^2 q(r) with q of degree 3 fitted to the least relative error,
// 1.1e-7: no less than rounding makes of any longer one.
HWY_INLINE V Exp(V x) {
  // A float this large has no fraction: adding it rounds to an integer, and
  // leaves n + 127, an exponent as float32 keeps it, in the lowest bits.
  const V magic = Fill(12582912.0f + 127);  // 1.5 * 2^23 + 127
  const V shifted = hn::MulAdd(x, Fill(1.44269504f), magic);
  const V n = hn::Sub(shifted, magic);
#if HWY_NATIVE_FMA
  // Rounded once; the nearest float to ln 2 is 2e-9 off, at most 2.4e-7 by n.
  const V r = hn::NegMulAdd(n, Fill(0.693147181f), x);
#else
  // ln 2 in two parts, for n times the first is exact.
  const V most = hn::NegMulAdd(n, Fill(0.693359375f), x);
  const V r = hn::NegMulAdd(n, Fill(-2.12194440e-4f), most);
#endif
  V p = hn::MulAdd(Fill(0.008312501013278961f), r, Fill(0.041890330612659454f));
  p = hn::MulAdd(p, r, Fill(0.16667115688323975f));
  p = hn::MulAdd(p, r, Fill(0.499992311000824f));
  p = hn::MulAdd(p, r, Fill(1.0f));
  p = hn::MulAdd(p, r, Fill(1.0f));
  const auto power = hn::ShiftLeft<23>(hn::BitCast(U32(), shifted));
  const V scale = hn::BitCast(F32(), power);
  return hn::IfThenZeroElse(hn::Lt(x, Fill(-87.3f)), hn::Mul(p, scale));
}

}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // EDGETUNE_MODELS_FUSED_EXP_INL_H_
