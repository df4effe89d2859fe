// Products of rows with one vector, straight on their blocks: DotVector and
// DotRows of block_kernels.h.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "models/fused/block_kernels.h"
#include "models/fused/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/block_products.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "models/fused/block_types-inl.h"
#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

// Several rows at a time: as many chains of sums, and x is read
// once for all. A processor does not see by itself that these short streams are
// one long one, and has to be asked for what comes next.

constexpr size_t kAhead = 8192;  // bytes: 0.2 us at 40 GB/s

// The lines of [p, p + bytes), which need not be memory of ours; the end.
HWY_INLINE const uint8_t* Prefetch(const uint8_t* p, size_t bytes) {
  for (size_t k = 0; k < bytes; k += 64) hwy::Prefetch(p + k);
  return p + bytes;
}

// dot(row pointers [kRows], what to prefetch from, sums [kRows]); past the end
// the last row again.
template <size_t kRows, typename Dot>
HWY_INLINE void ForGroups(const StoredRows& rows, size_t begin, size_t end,
                          float* y, const Dot& dot) {
  for (size_t i = begin; i < end; i += kRows) {
    const uint8_t* group[kRows];
    for (size_t k = 0; k < kRows; ++k) {
      group[k] = rows.row(i + k < end ? i + k : end - 1);
    }
    float sums[kRows];
    dot(group, rows.data + i * rows.row_bytes + kAhead, sums);
    for (size_t k = 0; k < kRows && i + k < end; ++k) {
      y[i - begin + k] = sums[k];
    }
  }
}

HWY_INLINE float SumOf(V v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }

template <typename Type>
void DotFours(const StoredRows& rows, size_t begin, size_t end, const float* x,
              float* y) {
  const auto dot = [&](const uint8_t* const* row, const uint8_t* ahead,
                       float* sums) HWY_ATTR {
    V a = Fill(0), b = a, c = a, d = a;
    Type::ForEach(rows.width, [&](size_t i, auto at) HWY_ATTR {
      ahead = Prefetch(ahead, 4 * Type::StepBytes());
      a = Type::Add(row[0], x, i, at, a);
      b = Type::Add(row[1], x, i, at, b);
      c = Type::Add(row[2], x, i, at, c);
      d = Type::Add(row[3], x, i, at, d);
    });
    sums[0] = SumOf(a);
    sums[1] = SumOf(b);
    sums[2] = SumOf(c);
    sums[3] = SumOf(d);
  };
  ForGroups<4>(rows, begin, end, y, dot);
}

#if HWY_TARGET == HWY_SCALAR

template <typename Type>
void DotNibbles(const StoredRows& rows, size_t begin, size_t end,
                const DotVector& x, float* y) {
  for (size_t row = begin; row < end; ++row) {
    const uint8_t* block = rows.row(row);
    float sum = 0;
    for (size_t i = 0; i < rows.width; i += kBlock, block += Type::kBytes) {
      float values[kBlock];
      Type::Read(block, values);
      for (size_t j = 0; j < kBlock; ++j) sum += values[j] * x.x()[i + j];
    }
    y[row - begin] = sum;
  }
}

void Arrange(const float*, size_t, float*) {}  // x is taken as it is

#else

// --- Products with blocks of nibbles. A vector holds the same block of several
// rows, each in 4 lanes, a lane 4 bytes of the block, so 8 nibbles: its n-th is
// number 4 lane + n / 2 + 16 (n % 2) of the block. Masked where it stands it is
// 16^n times what it means, which float32 holds exactly, and the x that it
// meets is divided by that (DotVector): one operation instead of a shift and a
// mask. Scales and offsets are applied once a block.

#if HWY_HAVE_SCALABLE
constexpr size_t kInVector = 1;
#else
constexpr size_t kInVector = hn::MaxLanes(F32()) / 4;  // rows
#endif
using Quads = hn::CappedTag<float, 4 * kInVector>;
using QuadBits = hn::RebindToSigned<Quads>;
using Pairs = hn::CappedTag<float, 2 * kInVector>;

// A part of d from each row, row[k] + byte, side by side.
template <size_t rows, typename D>
HWY_INLINE hn::Vec<D> Gather(D d, const uint8_t* const* row, size_t byte) {
  if constexpr (rows == 1) {
    return Load(d, row[0] + byte);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, Gather<rows / 2>(half, row + rows / 2, byte),
                       Gather<rows / 2>(half, row, byte));
  }
}

// Of all lanes, times 16^n but for the last, whose topmost bit would be a sign.
template <int n>
HWY_INLINE hn::Vec<Quads> Nibbles(hn::Vec<QuadBits> levels) {
  if constexpr (n == 7) {
    const hn::RebindToUnsigned<Quads> bits;
    const auto top = hn::ShiftRight<28>(hn::BitCast(bits, levels));
    return hn::ConvertTo(Quads(), hn::BitCast(QuadBits(), top));
  } else {
    const auto mask = hn::Set(QuadBits(), 15 << (4 * n));
    return hn::ConvertTo(Quads(), hn::And(levels, mask));
  }
}

// Adds the products of the n-th to last nibbles of two vectors.
template <int n>
HWY_INLINE void AddProducts(hn::Vec<QuadBits> a, hn::Vec<QuadBits> b,
                            const float* x, hn::Vec<Quads>& sum_a,
                            hn::Vec<Quads>& sum_b) {
  const auto v = hn::LoadDup128(Quads(), x + 4 * n);
  sum_a = hn::MulAdd(Nibbles<n>(a), v, sum_a);
  sum_b = hn::MulAdd(Nibbles<n>(b), v, sum_b);
  if constexpr (n < 7) AddProducts<n + 1>(a, b, x, sum_a, sum_b);
}

// From a block's head, which is a scale and, in Q4_1, an offset: adds `sum`
// times scale to `scaled`, and to `heads` both times the sum of x. What Q4_0
// has in place of an offset ends up where nobody looks. `scales` picks the
// scale of its row for each lane.
template <typename Indices>
HWY_INLINE void AddScaled(const uint8_t* const* row, size_t byte,
                          const float* x, const Indices& scales,
                          hn::Vec<Quads> sum, hn::Vec<Quads>& scaled,
                          hn::Vec<Pairs>& heads) {
  const auto head = HalvesToFloats(
      Pairs(), Gather<kInVector>(hn::Rebind<uint16_t, Pairs>(), row, byte));
  heads = hn::MulAdd(head, hn::LoadDup128(Pairs(), x + kBlock), heads);
  const auto wide = hn::ZeroExtendVector(Quads(), head);
  scaled = hn::MulAdd(sum, hn::TableLookupLanes(wide, scales), scaled);
}

template <typename Type>
HWY_INLINE void Finish(hn::Vec<Quads> scaled, hn::Vec<Pairs> heads,
                       float* sums) {
  HWY_ALIGN float of_levels[4 * kInVector], of_heads[2 * kInVector];
  scaled = hn::Add(scaled, hn::Shuffle1032(scaled));
  scaled = hn::Add(scaled, hn::Shuffle2301(scaled));
  hn::StoreU(scaled, Quads(), of_levels);
  hn::StoreU(heads, Pairs(), of_heads);
  for (size_t k = 0; k < kInVector; ++k) {
    sums[k] = of_levels[4 * k] + of_heads[2 * k + Type::kHead];
  }
}

template <typename Type>
void DotNibbles(const StoredRows& rows, size_t begin, size_t end,
                const DotVector& x, float* y) {
  HWY_ALIGN int32_t evens[4 * kInVector];
  for (int32_t i = 0; i < int32_t{4 * kInVector}; ++i) evens[i] = i / 4 * 2;
  const auto scales = hn::SetTableIndices(Quads(), evens);
  const size_t bytes = rows.width / kBlock * Type::kBytes;
  const auto dot = [&](const uint8_t* const* row, const uint8_t* ahead,
                       float* sums) HWY_ATTR {
    const uint8_t* const* more = row + kInVector;
    auto scaled_a = hn::Zero(Quads()), scaled_b = scaled_a;
    auto heads_a = hn::Zero(Pairs()), heads_b = heads_a;
    const float* v = x.nibbles();
    for (size_t byte = 0; byte < bytes; byte += Type::kBytes) {
      ahead = Prefetch(ahead, 2 * kInVector * Type::kBytes);
      auto sum_a = hn::Zero(Quads()), sum_b = sum_a;
      AddProducts<0>(Gather<kInVector>(QuadBits(), row, byte + Type::kLevels),
                     Gather<kInVector>(QuadBits(), more, byte + Type::kLevels),
                     v, sum_a, sum_b);
      AddScaled(row, byte, v, scales, sum_a, scaled_a, heads_a);
      AddScaled(more, byte, v, scales, sum_b, scaled_b, heads_b);
      v += DotVector::kFloatsPerBlock;
    }
    Finish<Type>(scaled_a, heads_a, sums);
    Finish<Type>(scaled_b, heads_b, sums + kInVector);
  };
  ForGroups<2 * kInVector>(rows, begin, end, y, dot);
}

// out is a DotVector's: for each block 8 times 4 numbers as the lanes of its
// n-th nibbles meet them, then what a pair (scale, offset) is multiplied with,
// twice: the sum times -8, for the middle of Q4_0, and the sum.
void Arrange(const float* x, size_t width, float* out) {
  const hn::CappedTag<float, 4> four;
  for (size_t i = 0; i < width; i += kBlock) {
    auto sum = hn::Zero(four);
    // low and high are the nibbles of a byte, of which a lane has 4.
    const auto place = [&](size_t byte, float of_low, float of_high, auto low,
                           auto high) HWY_ATTR {
      float* at = out + 8 * byte;
      hn::StoreU(hn::Mul(low, hn::Set(four, of_low)), four, at);
      hn::StoreU(hn::Mul(high, hn::Set(four, of_high)), four, at + 4);
      sum = hn::Add(sum, hn::Add(low, high));
    };
    hn::Vec<decltype(four)> a, b, c, d, e, f, g, h;
    hn::LoadInterleaved4(four, x + i, a, b, c, d);
    hn::LoadInterleaved4(four, x + i + kBlock / 2, e, f, g, h);
    place(0, 1, 0x1p-4f, a, e);
    place(1, 0x1p-8f, 0x1p-12f, b, f);
    place(2, 0x1p-16f, 0x1p-20f, c, g);
    place(3, 0x1p-24f, 1, d, h);  // the topmost is shifted down
    const float total = hn::GetLane(hn::SumOfLanes(four, sum));
    for (size_t k = 32; k < 36; k += 2) {
      out[k] = -8 * total;
      out[k + 1] = total;
    }
    out += DotVector::kFloatsPerBlock;
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

void Dot(const StoredRows& rows, size_t begin, size_t end, const DotVector& x,
         float* y) {
  switch (rows.type) {
    case BlockType::kF32:
      return DotFours<Plain<F32Bytes>>(rows, begin, end, x.x(), y);
    case BlockType::kF16:
      return DotFours<Plain<F16Bytes>>(rows, begin, end, x.x(), y);
    case BlockType::kBF16:
      return DotFours<Plain<BF16Bytes>>(rows, begin, end, x.x(), y);
    case BlockType::kQ8_0:
      return DotFours<Q8_0>(rows, begin, end, x.x(), y);
    case BlockType::kQ4_0:
      return DotNibbles<Q4_0>(rows, begin, end, x, y);
    default:
      return DotNibbles<Q4_1>(rows, begin, end, x, y);
  }
}

}  // namespace
}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace edgetune::fused {

HWY_EXPORT(Arrange);
HWY_EXPORT(Dot);

void DotVector::Set(const float* x, size_t width) {
  constexpr size_t kBlock = 32;
  x_ = x;
  width_ = width;
  if (width % kBlock != 0) return;
  nibbles_.Reserve(width / kBlock * kFloatsPerBlock);
  HWY_DYNAMIC_DISPATCH(Arrange)(x, width, nibbles_.data());
}

void DotRows(const StoredRows& rows, size_t begin, size_t end,
             const DotVector& x, float* y) {
  EDGETUNE_CHECK(rows.width == x.width());
  if (HasBlockKernel(rows.type)) {
    HWY_DYNAMIC_DISPATCH(Dot)(rows, begin, end, x, y);
    return;
  }
  std::vector<float> row(rows.width);
  for (size_t i = begin; i < end; ++i) {
    DequantiseRow(rows, i, row.data());
    RowDots<float>({row.data(), 1, rows.width, rows.width},
                   {x.x(), 1, rows.width, rows.width}, &y[i - begin]);
  }
}

}  // namespace edgetune::fused
#endif  // HWY_ONCE
