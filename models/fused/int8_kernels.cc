#include "models/fused/int8_kernels.h"

#include <cfloat>
#include <cstring>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/int8_kernels.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/highway.h>

#include "models/fused/kernel_tables.h"
#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

using I32 = hn::RebindToSigned<F32>;
using Int32s = hn::Vec<I32>;
using I8Quarter = hn::Rebind<int8_t, I32>;

HWY_INLINE void WriteBytes(hn::Vec<I8Quarter> v, Whole, int8_t* p) {
  hn::StoreU(v, I8Quarter(), p);
}
HWY_INLINE void WriteBytes(hn::Vec<I8Quarter> v, Part part, int8_t* p) {
  int8_t buffer[hn::MaxLanes(F32())];
  hn::StoreU(v, I8Quarter(), buffer);
  std::memcpy(p, buffer, part.count);
}

// Elements of a row, and the same times factors.
template <typename T>
struct Plain {
  const T* x;

  template <typename At>
  HWY_INLINE V Read(size_t i, At at) const {
    return at.Read(x + i);
  }
};
template <typename T>
struct Times {
  const T* x;
  const float* factors;

  template <typename At>
  HWY_INLINE V Read(size_t i, At at) const {
    return hn::Mul(at.Read(x + i), at.Read(factors + i));
  }
};

// The largest magnitude. Compared as integers, which have the same order, but
// for NaN, which is above all.
template <typename Row>
HWY_INLINE float MostOf(const Row& row, size_t width) {
  const F32 f32;
  const I32 i32;
  const auto max = [&](V a, V b) HWY_ATTR {
    return hn::BitCast(f32, hn::Max(hn::BitCast(i32, a), hn::BitCast(i32, b)));
  };
  const V most = Fold(
      width, Fill(0),
      [&](V so_far, size_t i, auto at)
          HWY_ATTR { return max(so_far, hn::Abs(row.Read(i, at))); },
      max);
  return hn::GetLane(
      hn::BitCast(f32, hn::MaxOfLanes(i32, hn::BitCast(i32, most))));
}

template <typename Row>
HWY_INLINE float Quantise(const Row& row, size_t width, int8_t* values) {
  const float scale = MostOf(row, width) / 127;
  const V inverse = Fill(scale >= FLT_MIN ? 1 / scale : 0);
  ForLanes(width, [&](size_t i, auto at) HWY_ATTR {
    const Int32s nearest = hn::NearestInt(hn::Mul(row.Read(i, at), inverse));
    WriteBytes(hn::DemoteTo(I8Quarter(), nearest), at, values + i);
  });
  return scale;
}

template <typename T>
void QuantiseRows(const Rows<const T>& x, const float* factors,
                  const Rows<int8_t>& values, float* scales) {
  for (size_t i = 0; i < x.rows; ++i) {
    const T* row = x.row(i);
    int8_t* to = values.row(i);
    scales[i] = factors == nullptr
                    ? Quantise(Plain<T>{row}, x.width, to)
                    : Quantise(Times<T>{row, factors}, x.width, to);
  }
}

template <typename T>
void RaiseToMagnitudes(const Rows<const T>& x, float* most) {
  for (size_t row = 0; row < x.rows; ++row) {
    const T* from = x.row(row);
    ForLanes(x.width, [&](size_t i, auto at) HWY_ATTR {
      const V value = hn::Abs(at.Read(from + i));
      const V so_far = at.Read(most + i);
      // A NaN is above nothing.
      at.Write(hn::IfThenElse(hn::Gt(value, so_far), value, so_far), most + i);
    });
  }
}

template <typename C>
void ScaleSums(const Rows<const int32_t>& sums, const float* row_scales,
               const float* column_scales, const float* bias,
               const LowRank& apart, bool add, const Rows<C>& y) {
  for (size_t row = 0; row < sums.rows; ++row) {
    const int32_t* from = sums.row(row);
    C* to = y.row(row);
    const V scale = Fill(row_scales[row]);
    ForLanes(sums.width, [&](size_t i, auto at) HWY_ATTR {
      V value = hn::ConvertTo(F32(), hn::LoadU(I32(), from + i));
      if (column_scales != nullptr) {
        value = hn::Mul(value, at.Read(column_scales + i));
      }
      value = hn::Mul(value, scale);
      if (bias != nullptr) value = hn::Add(value, at.Read(bias + i));
      for (size_t r = 0; r < apart.x.width; ++r) {
        value = hn::MulAdd(Fill(apart.x.row(row)[r]),
                           at.Read(apart.b.row(r) + i), value);
      }
      if (add) value = hn::Add(value, at.Read(to + i));
      at.Write(value, to + i);
    });
  }
}

#if HWY_TARGET == HWY_SCALAR

// A vector has no room for a pair.
void MultiplyBytes(Form form, const Rows<const int8_t>& a,
                   const Rows<const int8_t>& b, const Rows<int32_t>& sums,
                   int16_t* scratch) {
  const size_t along = form == Form::kAB ? b.stride : 1;
  const size_t across = form == Form::kAB ? 1 : b.stride;
  for (size_t row = 0; row < sums.rows; ++row) {
    for (size_t column = 0; column < sums.width; ++column) {
      int32_t sum = 0;
      for (size_t k = 0; k < a.width; ++k) {
        sum += a.row(row)[k] * b.data[k * along + column * across];
      }
      sums.row(row)[column] = sum;
    }
  }
}

#else

// The product. Numbers of 16 bits are multiplied in pairs, whose sums of 32
// bits need no more than one instruction on x86. A lies in scratch as rows of
// pairs. B lies as panels of so many columns as two vectors have sums: row by
// row of a panel a pair of each column. What there is no number for is 0.

using I16 = hn::Repartition<int16_t, I32>;
using I8Half = hn::Rebind<int8_t, I16>;
using Int16s = hn::Vec<I16>;

HWY_INLINE size_t PanelWidth() { return 2 * hn::Lanes(I32()); }

// Sums of products of pairs, where the instruction set may keep two parts.
struct PairSums {
  Int32s a, b;

  HWY_INLINE PairSums() : a(hn::Zero(I32())), b(a) {}

  HWY_INLINE void Add(Int16s x, Int16s y) {
    a = hn::ReorderWidenMulAccumulate(I32(), x, y, a, b);
  }
  HWY_INLINE void Write(bool first, int32_t* p) const {
    const Int32s sum = hn::RearrangeToOddPlusEven(a, b);
    hn::StoreU(first ? sum : hn::Add(sum, hn::LoadU(I32(), p)), I32(), p);
  }
};

// Four rows of sums in a panel's columns; `first`: not added to what is there.
HWY_INLINE void Tile(const int16_t* a, const int16_t* panel, size_t pairs,
                     bool first, int32_t* sums, size_t stride) {
  const size_t lanes = hn::Lanes(I16());
  const auto pair = [&](size_t row, size_t k) HWY_ATTR {
    int32_t both;
    std::memcpy(&both, a + 2 * (row * pairs + k), sizeof(both));
    return hn::BitCast(I16(), hn::Set(I32(), both));
  };
  PairSums s00, s01, s10, s11, s20, s21, s30, s31;
  for (size_t k = 0; k < pairs; ++k) {
    const Int16s b0 = hn::Load(I16(), panel + 2 * k * lanes);
    const Int16s b1 = hn::Load(I16(), panel + (2 * k + 1) * lanes);
    const Int16s a0 = pair(0, k), a1 = pair(1, k);
    s00.Add(a0, b0);
    s01.Add(a0, b1);
    s10.Add(a1, b0);
    s11.Add(a1, b1);
    const Int16s a2 = pair(2, k), a3 = pair(3, k);
    s20.Add(a2, b0);
    s21.Add(a2, b1);
    s30.Add(a3, b0);
    s31.Add(a3, b1);
  }
  const size_t half = hn::Lanes(I32());
  s00.Write(first, sums);
  s01.Write(first, sums + half);
  s10.Write(first, sums + stride);
  s11.Write(first, sums + stride + half);
  s20.Write(first, sums + 2 * stride);
  s21.Write(first, sums + 2 * stride + half);
  s30.Write(first, sums + 3 * stride);
  s31.Write(first, sums + 3 * stride + half);
}

// The first `count` of `most` numbers, and zeros.
HWY_INLINE void CopyPadded(const int8_t* from, size_t count, size_t most,
                           int8_t* to) {
  std::memcpy(to, from, count);
  std::memset(to + count, 0, most - count);
}

// A vector beyond the longest row.
constexpr size_t kPaddedDepth = kByteDepth + hn::MaxLanes(I16());

// Columns [begin, begin + width) of A as rows of pairs.
void PackRows(const Rows<const int8_t>& a, size_t begin, size_t width,
              size_t pairs, int16_t* to) {
  const size_t lanes = hn::Lanes(I16());
  int8_t padded[kPaddedDepth];
  int16_t wide[kPaddedDepth];
  const size_t rows = (a.rows + kSumRows - 1) / kSumRows * kSumRows;
  for (size_t row = 0; row < rows; ++row, to += 2 * pairs) {
    const bool there = row < a.rows;
    CopyPadded(there ? a.row(row) + begin : padded, there ? width : 0,
               kPaddedDepth, padded);
    for (size_t k = 0; k < 2 * pairs; k += lanes) {
      const auto bytes = hn::LoadU(I8Half(), padded + k);
      hn::StoreU(hn::PromoteTo(I16(), bytes), I16(), wide + k);
    }
    std::memcpy(to, wide, 2 * pairs * sizeof(int16_t));
  }
}

// The panel of columns [column, column + PanelWidth()) of B [K,N], rows
// [begin, begin + depth).
void PackPanel(const Rows<const int8_t>& b, size_t column, size_t begin,
               size_t depth, int16_t* panel) {
  const size_t width = PanelWidth();
  const size_t count = b.width - column < width ? b.width - column : width;
  const auto read = [&](size_t k) HWY_ATTR {
    int8_t padded[2 * hn::MaxLanes(I32())];
    const bool there = k < depth;
    const int8_t* from = there ? b.row(begin + k) + column : padded;
    if (!there || count < width) {
      CopyPadded(from, there ? count : 0, width, padded);
      from = padded;
    }
    return hn::PromoteTo(I16(), hn::LoadU(I8Half(), from));
  };
  for (size_t k = 0; k < depth; k += 2, panel += 2 * width) {
    hn::StoreInterleaved2(read(k), read(k + 1), I16(), panel);
  }
}

// The same of B^T, B being [N,K]: four rows of B are four columns.
void PackTransposedPanel(const Rows<const int8_t>& b, size_t column,
                         size_t begin, size_t depth, int16_t* panel) {
  const size_t width = PanelWidth();
  const size_t lanes = hn::Lanes(I32());  // pairs
  const size_t pairs = (depth + 1) / 2;
  int8_t padded[4][kPaddedDepth];
  int32_t turned[4 * hn::MaxLanes(I32())];
  for (size_t n = 0; n < width; n += 4) {
    for (size_t i = 0; i < 4; ++i) {
      const bool there = column + n + i < b.rows;
      CopyPadded(there ? b.row(column + n + i) + begin : padded[i],
                 there ? depth : 0, kPaddedDepth, padded[i]);
    }
    for (size_t k = 0; k < pairs; k += lanes) {
      const auto read = [&](size_t i) HWY_ATTR {
        const auto bytes = hn::LoadU(I8Half(), padded[i] + 2 * k);
        return hn::BitCast(I32(), hn::PromoteTo(I16(), bytes));
      };
      hn::StoreInterleaved4(read(0), read(1), read(2), read(3), I32(), turned);
      const size_t count = pairs - k < lanes ? pairs - k : lanes;
      for (size_t i = 0; i < count; ++i) {
        std::memcpy(panel + 2 * ((k + i) * width + n), turned + 4 * i,
                    4 * sizeof(int32_t));
      }
    }
  }
}

void MultiplyBytes(Form form, const Rows<const int8_t>& a,
                   const Rows<const int8_t>& b, const Rows<int32_t>& sums,
                   int16_t* scratch) {
  const size_t width = PanelWidth();
  for (size_t begin = 0; begin < a.width; begin += kByteDepth) {
    const size_t left = a.width - begin;
    const size_t depth = left < kByteDepth ? left : kByteDepth;
    const size_t pairs = (depth + 1) / 2;
    int16_t* const panel = scratch;
    int16_t* const rows = scratch + width * kByteDepth;
    PackRows(a, begin, depth, pairs, rows);
    for (size_t column = 0; column < sums.width; column += width) {
      if (form == Form::kAB) {
        PackPanel(b, column, begin, depth, panel);
      } else {
        PackTransposedPanel(b, column, begin, depth, panel);
      }
      for (size_t row = 0; row < sums.rows; row += kSumRows) {
        Tile(rows + 2 * row * pairs, panel, pairs, begin == 0,
             sums.row(row) + column, sums.stride);
      }
    }
  }
}

#endif

template <typename T>
Int8Kernels<T> Kernels() {
  return {&QuantiseRows<T>, &RaiseToMagnitudes<T>, &ScaleSums<T>};
}
Int8Kernels<float> FloatKernels() { return Kernels<float>(); }
Int8Kernels<BFloat16> BFloat16Kernels() { return Kernels<BFloat16>(); }

}  // namespace
}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace edgetune::fused {

HWY_EXPORT(FloatKernels);
HWY_EXPORT(BFloat16Kernels);
HWY_EXPORT(MultiplyBytes);

namespace {
template <typename T>
Int8Kernels<T> Kernels() {
  return TableOf<T>(HWY_DYNAMIC_DISPATCH(FloatKernels),
                    HWY_DYNAMIC_DISPATCH(BFloat16Kernels));
}
}  // namespace

template <typename T>
void QuantiseRows(const Rows<const T>& x, const float* factors,
                  const Rows<int8_t>& values, float* scales) {
  Kernels<T>().quantise_rows(x, factors, values, scales);
}
template void QuantiseRows(const Rows<const float>&, const float*,
                           const Rows<int8_t>&, float*);
template void QuantiseRows(const Rows<const BFloat16>&, const float*,
                           const Rows<int8_t>&, float*);

template <typename T>
void RaiseToMagnitudes(const Rows<const T>& x, float* most) {
  Kernels<T>().raise_to_magnitudes(x, most);
}
template void RaiseToMagnitudes(const Rows<const float>&, float*);
template void RaiseToMagnitudes(const Rows<const BFloat16>&, float*);

template <typename C>
void ScaleSums(const Rows<const int32_t>& sums, const float* row_scales,
               const float* column_scales, const float* bias,
               const LowRank& apart, bool add, const Rows<C>& y) {
  Kernels<C>().scale_sums(sums, row_scales, column_scales, bias, apart, add, y);
}
template void ScaleSums(const Rows<const int32_t>&, const float*, const float*,
                        const float*, const LowRank&, bool, const Rows<float>&);
template void ScaleSums(const Rows<const int32_t>&, const float*, const float*,
                        const float*, const LowRank&, bool,
                        const Rows<BFloat16>&);

void MultiplyBytes(Form form, const Rows<const int8_t>& a,
                   const Rows<const int8_t>& b, const Rows<int32_t>& sums,
                   int16_t* scratch) {
  HWY_DYNAMIC_DISPATCH(MultiplyBytes)(form, a, b, sums, scratch);
}

}  // namespace edgetune::fused
#endif  // HWY_ONCE
