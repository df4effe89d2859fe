#include "models/fused/frozen_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/status.h"
#include "models/fused/parallel.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

template <typename T>
constexpr BlockType kStoredAs =
    std::is_same_v<T, float> ? BlockType::kF32 : BlockType::kBF16;

// Whether the rows can be read as a matrix of T just as they lie.
template <typename T>
bool LiesAs(const StoredRows& part) {
  return part.type == kStoredAs<T> && part.permuted_head == 0 &&
         reinterpret_cast<uintptr_t>(part.data) % alignof(T) == 0;
}

template <typename T>
void ReadAll(const FrozenMatrix& from, uint8_t* to) {
  Buffer<T> scratch;
  constexpr size_t kAtOnce = 256;  // rows, which bounds the scratch
  for (size_t begin = 0; begin < from.rows(); begin += kAtOnce) {
    const size_t end = std::min(begin + kAtOnce, from.rows());
    const auto rows = from.Read<T>(begin, end, scratch);
    const size_t row_bytes = from.width() * sizeof(T);
    std::memcpy(to + begin * row_bytes, rows.data, (end - begin) * row_bytes);
  }
}

}  // namespace

absl::StatusOr<FrozenMatrix> FrozenMatrix::Map(
    const ModelFile& file, std::span<const std::string> names) {
  FrozenMatrix out;
  for (const std::string& name : names) {
    const auto stored = file.Stored(name);
    if (!stored) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {} in a file", name));
    }
    EDGETUNE_CHECK(out.parts_.empty() || stored->width == out.width_);
    out.parts_.push_back(*stored);
    out.rows_ += stored->rows;
    out.width_ = stored->width;
  }
  return out;
}

size_t FrozenMatrix::stored_bytes() const {
  size_t bytes = 0;
  for (const StoredRows& part : parts_) bytes += part.rows * part.row_bytes;
  return bytes;
}

bool FrozenMatrix::has_kernels() const {
  return std::ranges::all_of(
      parts_, [](const StoredRows& part) { return HasBlockKernel(part.type); });
}

FrozenMatrix FrozenMatrix::Copy(BlockType type) const {
  const bool bf16 = type == BlockType::kBF16;
  FrozenMatrix out;
  out.rows_ = rows_;
  out.width_ = width_;
  const size_t row_bytes = width_ * (bf16 ? sizeof(BFloat16) : sizeof(float));
  out.own_.Reserve(rows_ * row_bytes);
  bf16 ? ReadAll<BFloat16>(*this, out.own_.data())
       : ReadAll<float>(*this, out.own_.data());
  out.parts_ = {{.type = type,
                 .data = out.own_.data(),
                 .rows = rows_,
                 .width = width_,
                 .row_bytes = row_bytes}};
  return out;
}

FrozenMatrix FrozenMatrix::Quantise() const {
  FrozenMatrix out;
  out.parts_ = parts_;
  out.rows_ = rows_;
  out.width_ = width_;
  out.int8_.emplace(rows_, width_);
  ForRows(rows_, [&](size_t begin, size_t end) {
    Buffer<float> row(width_);
    for (size_t i = begin; i < end; ++i) {
      ReadRow<float>(i, row.data());
      QuantiseRow(row.data(), i, *out.int8_);
    }
  });
  return out;
}

template <typename Work>
void FrozenMatrix::ForParts(size_t from, size_t to, const Work& work) const {
  size_t first = 0;  // of the part
  for (const StoredRows& part : parts_) {
    const size_t begin = std::max(from, first);
    const size_t end = std::min(to, first + part.rows);
    if (begin < end) work(part, begin - first, end - first, begin);
    first += part.rows;
  }
}

template <typename T>
Rows<const T> FrozenMatrix::Read(size_t begin, size_t end,
                                 Buffer<T>& scratch) const {
  if (parts_.size() == 1 && LiesAs<T>(parts_[0])) {
    return {reinterpret_cast<const T*>(parts_[0].row(begin)), end - begin,
            width_, width_};
  }
  const ProfileScope scope(StepPart::kWeights);
  const auto out = scratch.Make(end - begin, width_);
  ForRows(out.rows, [&](size_t from, size_t to) {
    ForParts(begin + from, begin + to,
             [&](const StoredRows& part, size_t row, size_t last, size_t at) {
               for (; row < last; ++row, ++at) {
                 DequantiseRow(part, row, out.row(at - begin));
               }
             });
  });
  return Const(out);
}

template Rows<const float> FrozenMatrix::Read(size_t, size_t,
                                              Buffer<float>&) const;
template Rows<const BFloat16> FrozenMatrix::Read(size_t, size_t,
                                                 Buffer<BFloat16>&) const;

template <typename T>
void FrozenMatrix::ReadRow(size_t row, float* out) const {
  ForParts(row, row + 1, [&](const StoredRows& part, size_t i, size_t, size_t) {
    DequantiseRow(part, i, out);
  });
  if constexpr (!std::is_same_v<T, float>) {
    for (size_t i = 0; i < width_; ++i) out[i] = ToFloat(FromFloat<T>(out[i]));
  }
}

template void FrozenMatrix::ReadRow<float>(size_t, float*) const;
template void FrozenMatrix::ReadRow<BFloat16>(size_t, float*) const;

void FrozenMatrix::Dot(const DotVector& x, float* y) const {
  ForRows(rows_, [&](size_t from, size_t to) {
    ForParts(from, to,
             [&](const StoredRows& part, size_t begin, size_t end, size_t at) {
               DotRows(part, begin, end, x, y + at);
             });
  });
}

}  // namespace edgetune::fused
