#include "models/fused/block_kernels.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/status.h"
#include "models/fused/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/block_kernels.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

// No processor has more than 16 lanes of float32, half a block.
using I32 = hn::RebindToSigned<F32>;
using U8 = hn::Rebind<uint8_t, F32>;
using I8 = hn::Rebind<int8_t, F32>;

constexpr size_t kBlock = 32;

// From any address.
template <typename D>
HWY_INLINE hn::Vec<D> Load(D d, const uint8_t* p) {
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<D> value;
  std::memcpy(&value, p, sizeof(value));
  return hn::Set(d, value);
#else
  return hn::BitCast(d, hn::LoadU(hn::Repartition<uint8_t, D>(), p));
#endif
}

// As HalfToFloat of models/io/quantise; F16C's instruction gives the same.
template <typename D>
HWY_INLINE hn::Vec<D> HalvesToFloats(D d,
                                     hn::Vec<hn::Rebind<uint16_t, D>> halves) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), halves));
#else
  const hn::RebindToUnsigned<D> u32;
  const auto bits = hn::PromoteTo(u32, halves);
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(u32, 0x7fff)));
  const auto finite = hn::BitCast(
      u32, hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f)));
  const auto exponent = hn::Set(u32, 0x7c00);
  const auto special = hn::Or(magnitude, hn::Set(u32, 0x7f800000));
  const auto value = hn::IfThenElse(hn::Eq(hn::And(bits, exponent), exponent),
                                    special, finite);
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(u32, 0x8000)));
  return hn::BitCast(d, hn::Or(value, sign));
#endif
}

// --- Types without blocks: as many elements at a time as there are lanes.

struct F32Bytes {
  static constexpr size_t kBytes = 4;
  static HWY_INLINE V Read(const uint8_t* p) { return Load(F32(), p); }
};

struct F16Bytes {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE V Read(const uint8_t* p) {
    return HalvesToFloats(F32(), Load(U16(), p));
  }
};

struct BF16Bytes {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE V Read(const uint8_t* p) {
    const auto bits = hn::PromoteTo(U32(), Load(U16(), p));
    return hn::BitCast(F32(), hn::ShiftLeft<16>(bits));
  }
};

template <typename Bytes>
struct Plain {
  // Of a step of ForEach.
  static size_t StepBytes() { return hn::Lanes(F32()) * Bytes::kBytes; }

  template <typename Step>
  static HWY_INLINE void ForEach(size_t width, const Step& step) {
    ForLanes(width, step);
  }
  static HWY_INLINE V Read(const uint8_t* row, size_t i, Whole) {
    return Bytes::Read(row + i * Bytes::kBytes);
  }
  static HWY_INLINE V Read(const uint8_t* row, size_t i, Part part) {
    uint8_t buffer[hn::MaxLanes(F32()) * Bytes::kBytes] = {};
    std::memcpy(buffer, row + i * Bytes::kBytes, part.count * Bytes::kBytes);
    return Bytes::Read(buffer);
  }
  template <typename T>
  static void Dequantise(const uint8_t* row, size_t width, T* out) {
    ForLanes(width, [&](size_t i, auto at)
                        HWY_ATTR { at.Write(Read(row, i, at), out + i); });
  }
  // sum + the products of a step.
  template <typename At>
  static HWY_INLINE V Add(const uint8_t* row, const float* x, size_t i, At at,
                          V sum) {
    return hn::MulAdd(Read(row, i, at), at.Read(x + i), sum);
  }
};

// --- Blocks of 32.

HWY_INLINE float HalfAt(const uint8_t* p) {
  const hn::CappedTag<uint16_t, 1> u16;
  return hn::GetLane(HalvesToFloats(hn::CappedTag<float, 1>(), Load(u16, p)));
}

template <typename Type, typename T>
HWY_INLINE void ReadBlocks(const uint8_t* row, size_t width, T* out) {
  for (size_t i = 0; i < width; i += kBlock, row += Type::kBytes) {
    Type::Read(row, out + i);
  }
}

struct Q8_0 {
  static constexpr size_t kBytes = 34;
  static size_t StepBytes() { return kBytes; }

  static HWY_INLINE V Levels(const uint8_t* block, size_t j) {
    const auto bytes = hn::BitCast(I8(), hn::LoadU(U8(), block + 2 + j));
    return hn::ConvertTo(F32(), hn::PromoteTo(I32(), bytes));
  }
  template <typename T>
  static HWY_INLINE void Read(const uint8_t* block, T* out) {
    const V scale = Fill(HalfAt(block));
    for (size_t j = 0; j < kBlock; j += hn::Lanes(F32())) {
      Write(hn::Mul(Levels(block, j), scale), out + j);
    }
  }
  template <typename Step>
  static HWY_INLINE void ForEach(size_t width, const Step& step) {
    for (size_t i = 0; i < width; i += kBlock) step(i, Whole());
  }
  // sum + the product of a block, whose scale is applied once.
  static HWY_INLINE V Add(const uint8_t* row, const float* x, size_t i, Whole,
                          V sum) {
    const uint8_t* block = row + i / kBlock * kBytes;
    const size_t lanes = hn::Lanes(F32());
    V part = hn::Mul(Levels(block, 0), HWY_NAMESPACE::Read(x + i));
    for (size_t j = lanes; j < kBlock; j += lanes) {
      part = hn::MulAdd(Levels(block, j), HWY_NAMESPACE::Read(x + i + j), part);
    }
    return hn::MulAdd(part, Fill(HalfAt(block)), sum);
  }
};

// value(levels) of 32 nibbles: low ones first, then high ones.
template <typename T, typename Value>
HWY_INLINE void ForNibbles(const uint8_t* bytes, T* out, const Value& value) {
  for (size_t j = 0; j < kBlock / 2; j += hn::Lanes(F32())) {
    const auto pairs = hn::PromoteTo(I32(), hn::LoadU(U8(), bytes + j));
    Write(value(hn::And(pairs, hn::Set(I32(), 15))), out + j);
    Write(value(hn::ShiftRight<4>(pairs)), out + kBlock / 2 + j);
  }
}

// kLevels: where the nibbles begin. kHead: what to take of the sums that
// DotNibbles makes of a block's head.
struct Q4_0 {
  static constexpr size_t kBytes = 18, kLevels = 2, kHead = 0;

  template <typename T>
  static HWY_INLINE void Read(const uint8_t* block, T* out) {
    const V scale = Fill(HalfAt(block));
    ForNibbles(block + kLevels, out, [&](auto level) HWY_ATTR {
      const auto centred = hn::Sub(level, hn::Set(I32(), 8));
      return hn::Mul(hn::ConvertTo(F32(), centred), scale);
    });
  }
};

struct Q4_1 {
  static constexpr size_t kBytes = 20, kLevels = 4, kHead = 1;

  template <typename T>
  static HWY_INLINE void Read(const uint8_t* block, T* out) {
    const V scale = Fill(HalfAt(block)), offset = Fill(HalfAt(block + 2));
    // Fused or not, this rounds once: 4 bits times 11 are exact.
    ForNibbles(block + kLevels, out, [&](auto level) HWY_ATTR {
      return hn::MulAdd(hn::ConvertTo(F32(), level), scale, offset);
    });
  }
};

template <typename T>
void DequantiseAs(BlockType type, const uint8_t* row, size_t width, T* out) {
  switch (type) {
    case BlockType::kF32:
      return Plain<F32Bytes>::Dequantise(row, width, out);
    case BlockType::kF16:
      return Plain<F16Bytes>::Dequantise(row, width, out);
    case BlockType::kBF16:
      return Plain<BF16Bytes>::Dequantise(row, width, out);
    case BlockType::kQ8_0:
      return ReadBlocks<Q8_0>(row, width, out);
    case BlockType::kQ4_0:
      return ReadBlocks<Q4_0>(row, width, out);
    default:
      return ReadBlocks<Q4_1>(row, width, out);
  }
}
void ToFloats(BlockType type, const uint8_t* row, size_t width, float* out) {
  DequantiseAs(type, row, width, out);
}
void ToBFloat16s(BlockType type, const uint8_t* row, size_t width,
                 BFloat16* out) {
  DequantiseAs(type, row, width, out);
}

// --- Products. Several rows at a time: as many chains of sums, and x is read
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

HWY_EXPORT(ToFloats);
HWY_EXPORT(ToBFloat16s);
HWY_EXPORT(Arrange);
HWY_EXPORT(Dot);

bool HasBlockKernel(BlockType type) {
  return type == BlockType::kF32 || type == BlockType::kF16 ||
         type == BlockType::kBF16 || type == BlockType::kQ8_0 ||
         type == BlockType::kQ4_0 || type == BlockType::kQ4_1;
}

namespace {

constexpr size_t kBlock = 32;
// Of a row of a type that has no kernel: the longest block.
constexpr size_t kPiece = 256;

// work(i, values, count) for consecutive pieces of a row.
template <typename Work>
void ForPieces(const StoredRows& rows, size_t row, const Work& work) {
  const BlockShape shape = BlockShapeOf(rows.type);
  const uint8_t* in = rows.row(row);
  float values[kPiece];
  for (size_t i = 0; i < rows.width; i += kPiece) {
    const size_t count = std::min(kPiece, rows.width - i);
    const size_t bytes = count / shape.elements * shape.bytes;
    Dequantise(rows.type, {in, bytes}, {values, count});
    work(i, values, count);
    in += bytes;
  }
}

}  // namespace

template <typename T>
void DequantiseRow(const StoredRows& rows, size_t row, T* out) {
  if (!HasBlockKernel(rows.type)) {
    return ForPieces(rows, row, [&](size_t i, const float* in, size_t count) {
      Convert(in, count, out + i);
    });
  }
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(ToFloats)(rows.type, rows.row(row), rows.width, out);
  } else {
    HWY_DYNAMIC_DISPATCH(ToBFloat16s)
    (rows.type, rows.row(row), rows.width, out);
  }
}
template void DequantiseRow(const StoredRows&, size_t, float*);
template void DequantiseRow(const StoredRows&, size_t, BFloat16*);

void DotVector::Set(const float* x, size_t width) {
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
  for (size_t row = begin; row < end; ++row) {
    float sum = 0;
    ForPieces(rows, row, [&](size_t i, const float* in, size_t count) {
      float part;
      RowDots<float>({in, 1, count, count}, {x.x() + i, 1, count, count},
                     &part);
      sum += part;
    });
    y[row - begin] = sum;
  }
}

}  // namespace edgetune::fused
#endif  // HWY_ONCE
