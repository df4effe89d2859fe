#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/io/model_writer.h"

namespace edgetune {
namespace {

// IEEE half precision, rounded to nearest even; infinity when too large.
uint16_t HalfOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;  // 2^16 and more
  if (magnitude < 0x38800000u) {
    // Below 2^-14 a half counts in steps of 2^-24: adding 1/2 lets float's own
    // rounding, whose last place there is 2^-24, do the work.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) -
                                        0x3f000000u);
  }
  const uint32_t odd = magnitude >> 13 & 1;
  const uint32_t rounded = magnitude + 0xfffu + odd - (112u << 23);
  return sign | static_cast<uint16_t>(rounded >> 13);
}

// The upper half of a float32, rounded to nearest even.
uint16_t BrainFloatOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

bool IsInfinite(BlockType type, uint16_t bits) {
  const uint16_t exponent = type == BlockType::kF16 ? 0x7c00u : 0x7f80u;
  return (bits & exponent) == exponent;
}

void AppendValue(BlockType type, float value, std::string* out) {
  char bytes[sizeof(float)];
  if (type == BlockType::kF32) {
    std::memcpy(bytes, &value, sizeof(value));
    out->append(bytes, sizeof(value));
    return;
  }
  const uint16_t bits =
      type == BlockType::kF16 ? HalfOf(value) : BrainFloatOf(value);
  std::memcpy(bytes, &bits, sizeof(bits));
  out->append(bytes, sizeof(bits));
}

bool Holds(BlockType type, float value) {
  if (!std::isfinite(value)) return false;
  if (type == BlockType::kF32) return true;
  return !IsInfinite(
      type, type == BlockType::kF16 ? HalfOf(value) : BrainFloatOf(value));
}

class PlainEncoder final : public TensorEncoder {
 public:
  PlainEncoder(BlockType matrices, BlockType vectors,
               std::unordered_set<std::string> wide)
      : matrices_(matrices), vectors_(vectors), wide_(std::move(wide)) {}

  BlockType TypeOf(const TensorInfo& tensor) const override {
    if (wide_.count(tensor.name) > 0) return BlockType::kF32;
    return tensor.shape.size() < 2 ? vectors_ : matrices_;
  }

  absl::Status Encode(BlockType type, std::span<const float> values,
                      std::string* out) const override {
    EDGETUNE_CHECK(BlockShapeOf(type).elements == 1);
    out->reserve(out->size() + values.size() * BlockShapeOf(type).bytes);
    for (const float value : values) {
      if (!Holds(type, value)) {
        return absl::InvalidArgumentError(
            fmt::format("a value of {} does not fit {}", value,
                        std::string(BlockShapeOf(type).name)));
      }
      AppendValue(type, value, out);
    }
    return absl::OkStatus();
  }

  uint32_t file_type() const override {
    if (matrices_ == BlockType::kF32) return 0;
    return matrices_ == BlockType::kF16 ? 1 : 32;
  }

 private:
  const BlockType matrices_, vectors_;
  const std::unordered_set<std::string> wide_;  // F32 whatever the others are
};

// That of all matrices; BF16 where they differ or are quantised.
BlockType TypeOfMatrices(const TensorSource& source) {
  std::string found;
  for (const TensorInfo& info : source.tensors()) {
    if (info.shape.size() < 2) continue;
    if (!found.empty() && found != info.type) return BlockType::kBF16;
    found = info.type;
  }
  if (found == "F32") return BlockType::kF32;
  return found == "F16" ? BlockType::kF16 : BlockType::kBF16;
}

// Vectors of which `type` would change a value.
absl::StatusOr<std::unordered_set<std::string>> VectorsChangedBy(
    BlockType type, const TensorSource& source) {
  std::unordered_set<std::string> out;
  if (type == BlockType::kF32) return out;
  for (const TensorInfo& info : source.tensors()) {
    if (info.shape.size() >= 2) continue;
    std::vector<float> values(static_cast<size_t>(info.columns()));
    EDGETUNE_RETURN_IF_ERROR(source.ReadRows(info.name, 0, 1, values));
    std::string encoded;
    for (const float value : values) AppendValue(type, value, &encoded);
    std::vector<float> back(values.size());
    Dequantise(
        type,
        {reinterpret_cast<const uint8_t*>(encoded.data()), encoded.size()},
        back);
    if (back != values) out.insert(info.name);
  }
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorEncoder>> MakePlainEncoder(
    const TensorSource& source, std::optional<BlockType> type,
    ModelFormat format) {
  const BlockType matrices = type.value_or(TypeOfMatrices(source));
  EDGETUNE_CHECK(BlockShapeOf(matrices).elements == 1);
  if (format == ModelFormat::kGguf) {
    return std::make_unique<PlainEncoder>(matrices, BlockType::kF32,
                                          std::unordered_set<std::string>());
  }
  std::unordered_set<std::string> wide;
  if (!type.has_value()) {
    EDGETUNE_ASSIGN_OR_RETURN(wide, VectorsChangedBy(matrices, source));
  }
  return std::make_unique<PlainEncoder>(matrices, matrices, std::move(wide));
}

}  // namespace edgetune
