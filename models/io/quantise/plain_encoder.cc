#include <fmt/format.h>

#include <cmath>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/io/model_writer.h"
#include "models/io/quantise/quantise.h"

namespace edgetune {
namespace {

// Appends the values in `type`; what can be read back of them.
std::vector<float> Append(BlockType type, std::span<const float> values,
                          std::string* out) {
  const size_t before = out->size();
  out->resize(before + values.size() * BlockShapeOf(type).bytes);
  const std::span<uint8_t> bytes(
      reinterpret_cast<uint8_t*>(out->data()) + before, out->size() - before);
  Quantise(type, values, bytes);
  std::vector<float> back(values.size());
  Dequantise(type, bytes, back);
  return back;
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
    const std::vector<float> back = Append(type, values, out);
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(back[i])) continue;
      return absl::InvalidArgumentError(
          fmt::format("a value of {} does not fit {}", values[i],
                      std::string(BlockShapeOf(type).name)));
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
    if (Append(type, values, &encoded) != values) out.insert(info.name);
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
