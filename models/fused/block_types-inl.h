// How each block type lies in memory, as lanes of float32 read it. For kernels
// compiled once an instruction set by hwy/foreach_target.h, hence the guard
// that is open once a target. Nothing reads beyond a row.

// clang-format off
#if defined(EDGETUNE_MODELS_FUSED_BLOCK_TYPES_INL_H_) == defined(HWY_TARGET_TOGGLE)
// clang-format on
#ifdef EDGETUNE_MODELS_FUSED_BLOCK_TYPES_INL_H_
#undef EDGETUNE_MODELS_FUSED_BLOCK_TYPES_INL_H_
#else
#define EDGETUNE_MODELS_FUSED_BLOCK_TYPES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {

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

}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // EDGETUNE_MODELS_FUSED_BLOCK_TYPES_INL_H_
