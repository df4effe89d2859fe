// Lanes of float32 read from and written to arrays of float or BFloat16, and
// loops over them that leave no remainder to the caller. For kernels compiled
// once an instruction set by hwy/foreach_target.h, hence the guard that is
// open once a target. Nothing reads or writes beyond `count`.

// clang-format off
#if defined(EDGETUNE_MODELS_FUSED_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
// clang-format on
#ifdef EDGETUNE_MODELS_FUSED_LANES_INL_H_
#undef EDGETUNE_MODELS_FUSED_LANES_INL_H_
#else
#define EDGETUNE_MODELS_FUSED_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "models/fused/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using V = hn::Vec<F32>;

HWY_INLINE V Fill(float value) { return hn::Set(F32(), value); }

HWY_INLINE V Read(const float* p) { return hn::LoadU(F32(), p); }
HWY_INLINE V Read(const BFloat16* p) {
  const auto half = hn::LoadU(U16(), &p->bits);
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), half)));
}

// The upper halves after rounding to nearest even, as FromFloat<BFloat16>.
HWY_INLINE hn::Vec<U16> Narrow(V v) {
  const U32 u32;
  const auto bits = hn::BitCast(u32, v);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(u32, 1));
  const auto rounded =
      hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fff))));
  const auto quiet = hn::Or(upper, hn::Set(u32, 0x40));
  const auto nan = hn::RebindMask(u32, hn::IsNaN(v));
  return hn::TruncateTo(U16(), hn::IfThenElse(nan, quiet, rounded));
}

HWY_INLINE void Write(V v, float* p) { hn::StoreU(v, F32(), p); }
HWY_INLINE void Write(V v, BFloat16* p) {
  hn::StoreU(Narrow(v), U16(), &p->bits);
}

// How a step of a loop reaches memory: with every lane, or, past the last
// multiple of them, with the first `count`, where Read gives 0 in the others.
struct Whole {
  template <typename T>
  HWY_INLINE V Read(const T* p) const {
    return HWY_NAMESPACE::Read(p);
  }
  template <typename T>
  HWY_INLINE void Write(V v, T* p) const {
    HWY_NAMESPACE::Write(v, p);
  }
  // `v`, and `other` in the lanes that are not in use.
  HWY_INLINE V Or(V v, V other) const { return v; }
};

#if HWY_MEM_OPS_MIGHT_FAULT

// Masked loads may touch what they mask out: through a buffer.
struct Part {
  size_t count;

  template <typename T>
  HWY_INLINE V Read(const T* p) const {
    T buffer[hn::MaxLanes(F32())] = {};
    std::memcpy(buffer, p, count * sizeof(T));
    return HWY_NAMESPACE::Read(buffer);
  }
  template <typename T>
  HWY_INLINE void Write(V v, T* p) const {
    T buffer[hn::MaxLanes(F32())];
    HWY_NAMESPACE::Write(v, buffer);
    std::memcpy(p, buffer, count * sizeof(T));
  }
  HWY_INLINE V Or(V v, V other) const {
    return hn::IfThenElse(hn::FirstN(F32(), count), v, other);
  }
};

#else

struct Part {
  size_t count;

  HWY_INLINE V Read(const float* p) const {
    return hn::MaskedLoad(hn::FirstN(F32(), count), F32(), p);
  }
  HWY_INLINE V Read(const BFloat16* p) const {
    const auto half = hn::MaskedLoad(hn::FirstN(U16(), count), U16(), &p->bits);
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), half)));
  }
  HWY_INLINE void Write(V v, float* p) const {
    hn::BlendedStore(v, hn::FirstN(F32(), count), F32(), p);
  }
  HWY_INLINE void Write(V v, BFloat16* p) const {
    hn::BlendedStore(Narrow(v), hn::FirstN(U16(), count), U16(), &p->bits);
  }
  HWY_INLINE V Or(V v, V other) const {
    return hn::IfThenElse(hn::FirstN(F32(), count), v, other);
  }
};

#endif

// step(i, at) for i = 0, lanes, 2 lanes ... below `count`; `at` is a Whole,
// and at the end a Part where `count` leaves one.
template <typename Step>
HWY_INLINE void ForLanes(size_t count, const Step& step) {
  const size_t lanes = hn::Lanes(F32());
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) step(i, Whole());
  if (i < count) step(i, Part{count - i});
}

// Folds step(so far, i, at) over `count` elements in four chains, which
// `join` brings together: the order depends on nothing but `count` and lanes.
template <typename Step, typename Join>
HWY_INLINE V Fold(size_t count, V start, const Step& step, const Join& join) {
  const size_t lanes = hn::Lanes(F32());
  V a = start, b = start, c = start, d = start;
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = step(a, i, Whole());
    b = step(b, i + lanes, Whole());
    c = step(c, i + 2 * lanes, Whole());
    d = step(d, i + 3 * lanes, Whole());
  }
  for (; i + lanes <= count; i += lanes) a = step(a, i, Whole());
  if (i < count) b = step(b, i, Part{count - i});
  return join(join(a, b), join(c, d));
}

// step(so far, i, at) adds what stands at i: 0 in lanes not in use.
template <typename Step>
HWY_INLINE float Sum(size_t count, const Step& step) {
  const V sums = Fold(count, Fill(0), step,
                      [](V a, V b) HWY_ATTR { return hn::Add(a, b); });
  return hn::GetLane(hn::SumOfLanes(F32(), sums));
}

}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // EDGETUNE_MODELS_FUSED_LANES_INL_H_
