#include "models/io/model_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/mapped_file.h"
#include "base/status.h"
#include "models/io/mapped_model.h"
#include "models/io/model_tensors.h"
#include "models/io/vision/vision_model.h"

namespace edgetune {
namespace {

class MappedModel final : public ModelFile {
 public:
  explicit MappedModel(MappedModelParts parts) : parts_(std::move(parts)) {}

  absl::Status Prepare() {
    EDGETUNE_RETURN_IF_ERROR(ForEachTensor(
        parts_.config, [this](const ModelTensor& t) { return Add(t); }));
    if (infos_.size() == parts_.tensors.size()) return absl::OkStatus();
    std::unordered_map<std::string_view, bool> known;
    for (const Source& source : sources_) known.emplace(source.name, true);
    for (const auto& [name, tensor] : parts_.tensors) {
      if (known.count(name) > 0) continue;
      return absl::InvalidArgumentError(
          fmt::format("tensor {} does not belong to this architecture", name));
    }
    return absl::OkStatus();
  }

  const ModelConfig& config() const override { return parts_.config; }
  const Tokenizer& tokenizer() const override { return *parts_.tokenizer; }
  const ChatTemplate& chat_template() const override {
    return parts_.chat_template;
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    auto it = index_.find(name);
    if (it == index_.end()) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {}", name));
    }
    const TensorInfo& info = infos_[it->second];
    EDGETUNE_RETURN_IF_ERROR(
        CheckRowRange(info, row_begin, row_end, out.size()));
    const StoredRows stored = StoredAt(it->second);
    if (stored.permuted_head == 0) {
      Dequantise(stored.type,
                 {stored.row(static_cast<size_t>(row_begin)),
                  static_cast<size_t>(row_end - row_begin) * stored.row_bytes},
                 out);
      return absl::OkStatus();
    }
    const int64_t columns = info.columns();
    for (int64_t row = row_begin; row < row_end; ++row) {
      Dequantise(stored.type,
                 {stored.row(static_cast<size_t>(row)), stored.row_bytes},
                 out.subspan((row - row_begin) * columns, columns));
    }
    return absl::OkStatus();
  }

  std::optional<StoredRows> Stored(const std::string& name) const override {
    auto it = index_.find(name);
    if (it == index_.end()) return std::nullopt;
    return StoredAt(it->second);
  }

  void Release(const std::string& name) const override {
    auto it = index_.find(name);
    if (it != index_.end()) {
      MappedFile::Release(sources_[it->second].tensor->data);
    }
  }

 private:
  struct Source {
    std::string_view name;  // in the file
    const StoredTensor* tensor;
    bool permuted;
  };

  StoredRows StoredAt(size_t index) const {
    const TensorInfo& info = infos_[index];
    const Source& source = sources_[index];
    const auto rows = static_cast<size_t>(info.rows());
    const auto head = static_cast<size_t>(parts_.config.head_dim);
    return {.type = source.tensor->type,
            .data = source.tensor->data.data(),
            .rows = rows,
            .width = static_cast<size_t>(info.columns()),
            .row_bytes = source.tensor->data.size() / rows,
            .permuted_head = source.permuted ? head : 0};
  }

  absl::Status Add(const ModelTensor& wanted) {
    const bool gguf = parts_.format == ModelFormat::kGguf;
    const std::string& name = gguf ? wanted.gguf : wanted.name;
    auto it = parts_.tensors.find(name);
    if (it == parts_.tensors.end()) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is missing", name));
    }
    const StoredTensor& tensor = it->second;
    if (tensor.shape != wanted.shape) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} has shape {}, wanted {}", name,
                      ShapeText(tensor.shape), ShapeText(wanted.shape)));
    }
    index_.emplace(wanted.name, infos_.size());
    infos_.push_back({wanted.name, wanted.shape,
                      std::string(BlockShapeOf(tensor.type).name),
                      tensor.data.size()});
    sources_.push_back({it->first, &tensor, gguf && wanted.permuted});
    return absl::OkStatus();
  }

  const MappedModelParts parts_;
  std::vector<TensorInfo> infos_;
  std::vector<Source> sources_;  // beside infos_
  std::unordered_map<std::string, size_t> index_;
};

std::string_view HintFor(const absl::Status& status, bool directory) {
  if (absl::IsNotFound(status)) return "check the path";
  if (absl::IsDataLoss(status)) {
    return directory ? "a file is damaged: fetch the directory again"
                     : "the file is damaged: fetch it again";
  }
  return "use a model of the llama or qwen2 architecture, as a GGUF file or a "
         "Hugging Face directory";
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> MakeMappedModel(
    MappedModelParts parts) {
  auto model = std::make_unique<MappedModel>(std::move(parts));
  EDGETUNE_RETURN_IF_ERROR(model->Prepare());
  return model;
}

absl::StatusOr<std::unique_ptr<ModelFile>> ModelFile::Open(
    const std::string& path) {
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path, ignored);
  auto model = !directory            ? OpenGgufModel(path)
               : IsVisionModel(path) ? OpenVisionModel(path)
                                     : OpenHfModel(path);
  if (model.ok()) return model;
  // A system error already names the path.
  const bool named =
      model.status().message().find(path) != absl::string_view::npos;
  return Annotate(named ? model.status() : Prefix(model.status(), path),
                  ErrorKind::kModel, HintFor(model.status(), directory));
}

}  // namespace edgetune
