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

struct Floats {
  static constexpr size_t kBytes = 4;
  static HWY_INLINE V Read(const uint8_t* p) { return Load(F32(), p); }
};

struct Halves {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE V Read(const uint8_t* p) {
    return HalvesToFloats(F32(), Load(U16(), p));
  }
};

struct BrainFloats {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE V Read(const uint8_t* p) {
    const auto bits = hn::PromoteTo(U32(), Load(U16(), p));
    return hn::BitCast(F32(), hn::ShiftLeft<16>(bits));
  }
};

template <typename Type>
HWY_INLINE V ReadAt(const uint8_t* p, Whole) {
  return Type::Read(p);
}
template <typename Type>
HWY_INLINE V ReadAt(const uint8_t* p, Part part) {
  uint8_t buffer[hn::MaxLanes(F32()) * Type::kBytes] = {};
  std::memcpy(buffer, p, part.count * Type::kBytes);
  return Type::Read(buffer);
}

template <typename Type, typename T>
HWY_INLINE void DequantisePlain(const uint8_t* row, size_t width, T* out) {
  ForLanes(width, [&](size_t i, auto at) HWY_ATTR {
    at.Write(ReadAt<Type>(row + i * Type::kBytes, at), out + i);
  });
}

// --- Blocks of 32.

HWY_INLINE float HalfAt(const uint8_t* p) {
  const hn::CappedTag<uint16_t, 1> u16;
  return hn::GetLane(HalvesToFloats(hn::CappedTag<float, 1>(), Load(u16, p)));
}

HWY_INLINE V SignedBytes(const uint8_t* p) {
  const auto bytes = hn::BitCast(I8(), hn::LoadU(U8(), p));
  return hn::ConvertTo(F32(), hn::PromoteTo(I32(), bytes));
}

template <typename T>
HWY_INLINE void DequantiseQ8_0(const uint8_t* row, size_t width, T* out) {
  for (size_t i = 0; i < width; i += kBlock, row += 34) {
    const V scale = Fill(HalfAt(row));
    for (size_t j = 0; j < kBlock; j += hn::Lanes(F32())) {
      Write(hn::Mul(SignedBytes(row + 2 + j), scale), out + i + j);
    }
  }
}

// value(levels) of 32 nibbles: low ones first, then high ones.
template <typename T, typename Value>
HWY_INLINE void ForNibbles(const uint8_t* qs, T* out, const Value& value) {
  for (size_t j = 0; j < kBlock / 2; j += hn::Lanes(F32())) {
    const auto pair = hn::PromoteTo(I32(), hn::LoadU(U8(), qs + j));
    Write(value(hn::And(pair, hn::Set(I32(), 15))), out + j);
    Write(value(hn::ShiftRight<4>(pair)), out + kBlock / 2 + j);
  }
}

template <typename T>
HWY_INLINE void DequantiseQ4_0(const uint8_t* row, size_t width, T* out) {
  const auto middle = hn::Set(I32(), 8);
  for (size_t i = 0; i < width; i += kBlock, row += 18) {
    const V scale = Fill(HalfAt(row));
    ForNibbles(row + 2, out + i, [&](auto level) HWY_ATTR {
      return hn::Mul(hn::ConvertTo(F32(), hn::Sub(level, middle)), scale);
    });
  }
}

template <typename T>
HWY_INLINE void DequantiseQ4_1(const uint8_t* row, size_t width, T* out) {
  for (size_t i = 0; i < width; i += kBlock, row += 20) {
    const V scale = Fill(HalfAt(row)), offset = Fill(HalfAt(row + 2));
    // Rounds once whether fused or not: 4 bits times 11 are exact.
    ForNibbles(row + 4, out + i, [&](auto level) HWY_ATTR {
      return hn::MulAdd(hn::ConvertTo(F32(), level), scale, offset);
    });
  }
}

template <typename T>
void Dequantise(BlockType type, const uint8_t* row, size_t width, T* out) {
  switch (type) {
    case BlockType::kF32:
      return DequantisePlain<Floats>(row, width, out);
    case BlockType::kF16:
      return DequantisePlain<Halves>(row, width, out);
    case BlockType::kBF16:
      return DequantisePlain<BrainFloats>(row, width, out);
    case BlockType::kQ8_0:
      return DequantiseQ8_0(row, width, out);
    case BlockType::kQ4_0:
      return DequantiseQ4_0(row, width, out);
    default:
      return DequantiseQ4_1(row, width, out);
  }
}
void ToFloats(BlockType type, const uint8_t* row, size_t width, float* out) {
  Dequantise(type, row, width, out);
}
void ToBFloat16s(BlockType type, const uint8_t* row, size_t width,
                 BFloat16* out) {
  Dequantise(type, row, width, out);
}

// --- Products. Several rows at a time, for as many chains of sums.

HWY_INLINE float SumOf(V v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }

// dot(row pointers [kRows], sums [kRows]); past the end the last row again.
template <size_t kRows, typename Dot>
HWY_INLINE void ForGroups(const StoredRows& rows, size_t begin, size_t end,
                          float* y, const Dot& dot) {
  for (size_t i = begin; i < end; i += kRows) {
    const uint8_t* group[kRows];
    for (size_t k = 0; k < kRows; ++k) {
      group[k] = rows.row(i + k < end ? i + k : end - 1);
    }
    float sums[kRows];
    dot(group, sums);
    for (size_t k = 0; k < kRows && i + k < end; ++k) {
      y[i - begin + k] = sums[k];
    }
  }
}

template <typename Type>
void DotPlain(const StoredRows& rows, size_t begin, size_t end, const float* x,
              float* y) {
  ForGroups<4>(rows, begin, end, y,
               [&](const uint8_t* const* row, float* sums) HWY_ATTR {
                 V a = Fill(0), b = a, c = a, d = a;
                 ForLanes(rows.width, [&](size_t i, auto at) HWY_ATTR {
                   const V v = at.Read(x + i);
                   const size_t byte = i * Type::kBytes;
                   a = hn::MulAdd(ReadAt<Type>(row[0] + byte, at), v, a);
                   b = hn::MulAdd(ReadAt<Type>(row[1] + byte, at), v, b);
                   c = hn::MulAdd(ReadAt<Type>(row[2] + byte, at), v, c);
                   d = hn::MulAdd(ReadAt<Type>(row[3] + byte, at), v, d);
                 });
                 sums[0] = SumOf(a);
                 sums[1] = SumOf(b);
                 sums[2] = SumOf(c);
                 sums[3] = SumOf(d);
               });
}

// sum + the product of a block; its scale is applied once.
HWY_INLINE V AddQ8_0(const uint8_t* block, const float* x, V sum) {
  const size_t lanes = hn::Lanes(F32());
  V part = hn::Mul(SignedBytes(block + 2), Read(x));
  for (size_t j = lanes; j < kBlock; j += lanes) {
    part = hn::MulAdd(SignedBytes(block + 2 + j), Read(x + j), part);
  }
  return hn::MulAdd(part, Fill(HalfAt(block)), sum);
}

void DotQ8_0(const StoredRows& rows, size_t begin, size_t end, const float* x,
             float* y) {
  ForGroups<4>(rows, begin, end, y,
               [&](const uint8_t* const* row, float* sums) HWY_ATTR {
                 V a = Fill(0), b = a, c = a, d = a;
                 for (size_t i = 0, byte = 0; i < rows.width;
                      i += kBlock, byte += 34) {
                   a = AddQ8_0(row[0] + byte, x + i, a);
                   b = AddQ8_0(row[1] + byte, x + i, b);
                   c = AddQ8_0(row[2] + byte, x + i, c);
                   d = AddQ8_0(row[3] + byte, x + i, d);
                 }
                 sums[0] = SumOf(a);
                 sums[1] = SumOf(b);
                 sums[2] = SumOf(c);
                 sums[3] = SumOf(d);
               });
}

#if HWY_TARGET == HWY_SCALAR

struct Q4_0 {
  static constexpr size_t kBytes = 18;
  static void Read(const uint8_t* block, float* out) {
    DequantiseQ4_0(block, kBlock, out);
  }
};
struct Q4_1 {
  static constexpr size_t kBytes = 20;
  static void Read(const uint8_t* block, float* out) {
    DequantiseQ4_1(block, kBlock, out);
  }
};

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

void Arrange(const float*, size_t, float*) {}  // it takes x as it is

#else

// --- Products with blocks of nibbles: the same block of several rows at a
// time, each in 4 lanes of a vector. A lane holds 4 bytes of its block, so 8
// nibbles: its n-th is number 4 lane + n / 2 + 16 (n % 2) of the block. Masked
// where it stands it is 16^n times what it means, exact in float32, and x is
// divided by that (DotVector): one operation instead of a shift and a mask.
// What is left, scales and offsets, is done once a block.

#if HWY_HAVE_SCALABLE
constexpr size_t kRowsAtOnce = 1;
#else
constexpr size_t kRowsAtOnce = hn::MaxLanes(F32()) / 4;
#endif
using Quads = hn::CappedTag<float, 4 * kRowsAtOnce>;
using QuadBits = hn::RebindToSigned<Quads>;
using Four = hn::CappedTag<float, 4>;
using Pairs = hn::CappedTag<float, 2 * kRowsAtOnce>;

// d bytes of each row side by side, from row[k] + byte.
template <typename D, size_t kRows = kRowsAtOnce>
HWY_INLINE hn::Vec<D> Gather(D d, const uint8_t* const* row, size_t byte) {
  if constexpr (kRows == 1) {
    return Load(d, row[0] + byte);
  } else {
    const hn::Half<D> half;
    return hn::Combine(
        d, Gather<hn::Half<D>, kRows / 2>(half, row + kRows / 2, byte),
        Gather<hn::Half<D>, kRows / 2>(half, row, byte));
  }
}

struct Q4_0 {
  static constexpr size_t kBytes = 18, kLevels = 2, kOffset = 0;
};
struct Q4_1 {
  static constexpr size_t kBytes = 20, kLevels = 4, kOffset = 1;
};

// Of each row the sum of levels times x, in 4 lanes.
HWY_INLINE hn::Vec<Quads> DotLevels(hn::Vec<QuadBits> levels, const float* x) {
  const QuadBits bits;
  const Quads floats;
  const auto term = [&](int32_t mask, size_t n, hn::Vec<Quads> sum) HWY_ATTR {
    const auto level =
        hn::ConvertTo(floats, hn::And(levels, hn::Set(bits, mask)));
    return hn::MulAdd(level, hn::LoadDup128(floats, x + 4 * n), sum);
  };
  // The topmost holds the sign.
  const auto top = hn::BitCast(
      bits,
      hn::ShiftRight<28>(hn::BitCast(hn::RebindToUnsigned<Quads>(), levels)));
  auto sum =
      hn::Mul(hn::ConvertTo(floats, top), hn::LoadDup128(floats, x + 4 * 7));
  sum = term(0xf, 0, sum);
  sum = term(0xf0, 1, sum);
  sum = term(0xf00, 2, sum);
  sum = term(0xf000, 3, sum);
  sum = term(0xf0000, 4, sum);
  sum = term(0xf00000, 5, sum);
  return term(0xf000000, 6, sum);
}

template <typename Type>
void DotNibbles(const StoredRows& rows, size_t begin, size_t end,
                const DotVector& x, float* y) {
  const Quads floats;
  const Pairs pairs;
  alignas(64) int32_t evens[4 * kRowsAtOnce];
  for (size_t i = 0; i < 4 * kRowsAtOnce; ++i) {
    evens[i] = static_cast<int32_t>(i / 4 * 2);
  }
  const auto of_scales = hn::SetTableIndices(floats, evens);
  ForGroups<kRowsAtOnce>(
      rows, begin, end, y,
      [&](const uint8_t* const* row, float* sums) HWY_ATTR {
        auto scaled = hn::Zero(floats);
        auto offset = hn::Zero(pairs);
        const float* block = x.nibbles();
        const size_t bytes = rows.width / kBlock * Type::kBytes;
        for (size_t byte = 0; byte < bytes; byte += Type::kBytes) {
          // A row's scale and what follows it, of which Q4_0 uses nothing.
          const auto head = HalvesToFloats(
              pairs, Gather(hn::Rebind<uint16_t, Pairs>(), row, byte));
          offset = hn::MulAdd(head, hn::LoadDup128(pairs, block + 32), offset);
          const auto scales = hn::TableLookupLanes(
              hn::ZeroExtendVector(floats, head), of_scales);
          const auto levels = Gather(QuadBits(), row, byte + Type::kLevels);
          scaled = hn::MulAdd(DotLevels(levels, block), scales, scaled);
          block += DotVector::kFloatsPerBlock;
        }
        alignas(64) float lanes[4 * kRowsAtOnce], heads[2 * kRowsAtOnce];
        scaled = hn::Add(scaled, hn::Shuffle1032(scaled));
        scaled = hn::Add(scaled, hn::Shuffle2301(scaled));
        hn::Store(scaled, floats, lanes);
        hn::Store(offset, pairs, heads);
        for (size_t k = 0; k < kRowsAtOnce; ++k) {
          sums[k] = lanes[4 * k] + heads[2 * k + Type::kOffset];
        }
      });
}

// out is a DotVector's: for each block 8 times 4 numbers as the lanes of its
// n-th nibbles meet them, then what a pair (scale, offset) is multiplied with,
// twice: the sum times -8, for the middle of Q4_0, and the sum.
void Arrange(const float* x, size_t width, float* out) {
  const Four four;
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
    hn::Vec<Four> a, b, c, d, e, f, g, h;
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
      return DotPlain<Floats>(rows, begin, end, x.x(), y);
    case BlockType::kF16:
      return DotPlain<Halves>(rows, begin, end, x.x(), y);
    case BlockType::kBF16:
      return DotPlain<BrainFloats>(rows, begin, end, x.x(), y);
    case BlockType::kQ8_0:
      return DotQ8_0(rows, begin, end, x.x(), y);
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

namespace {

constexpr size_t kBlock = 32;
// Of a row of a type that has no kernel: the longest block.
constexpr size_t kPiece = 256;

bool HasKernel(BlockType type) {
  return type == BlockType::kF32 || type == BlockType::kF16 ||
         type == BlockType::kBF16 || type == BlockType::kQ8_0 ||
         type == BlockType::kQ4_0 || type == BlockType::kQ4_1;
}

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
  if (!HasKernel(rows.type)) {
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
  if (HasKernel(rows.type)) {
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
