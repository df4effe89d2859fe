#include "models/shrink/rounded_model.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "base/status.h"
#include "models/io/model_tensors.h"

namespace edgetune {
namespace {

size_t RowBytes(BlockType type, int64_t columns) {
  const BlockShape shape = BlockShapeOf(type);
  return static_cast<size_t>(columns) / shape.elements * shape.bytes;
}

class RoundedModel final : public ModelFile {
 public:
  RoundedModel(const ModelFile& model,
               std::map<std::string, RoundedTensor> rounded)
      : model_(model), rounded_(std::move(rounded)), infos_(model.tensors()) {
    for (TensorInfo& info : infos_) {
      const auto found = rounded_.find(info.name);
      if (found == rounded_.end()) continue;
      info.type = std::string(BlockShapeOf(found->second.type).name);
      info.bytes = found->second.bytes.size();
    }
  }

  const ModelConfig& config() const override { return model_.config(); }
  const Tokenizer& tokenizer() const override { return model_.tokenizer(); }
  const ChatTemplate& chat_template() const override {
    return model_.chat_template();
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    const auto stored = Own(name);
    if (!stored.has_value()) {
      return model_.ReadRows(name, row_begin, row_end, out);
    }
    const TensorInfo info = {name,
                             {static_cast<int64_t>(stored->rows),
                              static_cast<int64_t>(stored->width)},
                             ""};
    EDGETUNE_RETURN_IF_ERROR(
        CheckRowRange(info, row_begin, row_end, out.size()));
    Dequantise(stored->type,
               {stored->row(static_cast<size_t>(row_begin)),
                static_cast<size_t>(row_end - row_begin) * stored->row_bytes},
               out);
    return absl::OkStatus();
  }

  std::optional<StoredRows> Stored(const std::string& name) const override {
    const auto own = Own(name);
    return own.has_value() ? own : model_.Stored(name);
  }

  void Release(const std::string& name) const override { model_.Release(name); }

 private:
  std::optional<StoredRows> Own(const std::string& name) const {
    const auto found = rounded_.find(name);
    if (found == rounded_.end()) return std::nullopt;
    for (const TensorInfo& info : infos_) {
      if (info.name != name) continue;
      const RoundedTensor& tensor = found->second;
      return StoredRows{.type = tensor.type,
                        .data = tensor.bytes.data(),
                        .rows = static_cast<size_t>(info.rows()),
                        .width = static_cast<size_t>(info.columns()),
                        .row_bytes = RowBytes(tensor.type, info.columns())};
    }
    return std::nullopt;
  }

  const ModelFile& model_;
  const std::map<std::string, RoundedTensor> rounded_;
  std::vector<TensorInfo> infos_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> MakeRoundedModel(
    const ModelFile& model, std::map<std::string, RoundedTensor> rounded) {
  size_t known = 0;
  for (const TensorInfo& info : model.tensors()) {
    const auto found = rounded.find(info.name);
    if (found == rounded.end()) continue;
    ++known;
    const RoundedTensor& tensor = found->second;
    const size_t wanted = static_cast<size_t>(info.rows()) *
                          RowBytes(tensor.type, info.columns());
    if (info.columns() % BlockShapeOf(tensor.type).elements != 0 ||
        tensor.bytes.size() != wanted) {
      return absl::InvalidArgumentError(
          fmt::format("{} bytes of {} are not {} {}", tensor.bytes.size(),
                      std::string(BlockShapeOf(tensor.type).name), info.name,
                      ShapeText(info.shape)));
    }
  }
  if (known != rounded.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} of {} tensors are not the model's",
                    rounded.size() - known, rounded.size()));
  }
  return std::make_unique<RoundedModel>(model, std::move(rounded));
}

}  // namespace edgetune
