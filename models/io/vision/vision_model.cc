#include "models/io/vision/vision_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/atomic_directory.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/hf/safetensors.h"
#include "models/io/model_tensors.h"
#include "models/io/strict_json.h"
#include "models/io/vision/vision_config.h"
#include "models/io/vision/vision_network.h"

namespace edgetune {
namespace {

using nlohmann::ordered_json;

constexpr char kVisionWeightsFile[] = "model.safetensors";

absl::StatusOr<std::string> ReadVisionConfig(const std::string& directory) {
  return ReadFile(directory + "/" + kVisionConfigFile, kMaxConfig);
}

// The parameters, then the statistics, as they stand in VisionModel.
absl::StatusOr<ParameterLayout> StateOf(const VisionNetwork& network) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const auto& part : {LayoutOf(network), StatisticsOf(network)}) {
    EDGETUNE_RETURN_IF_ERROR(part.status());
    for (const auto& tensor : part->tensors()) {
      tensors.push_back({tensor.name, tensor.shape});
    }
  }
  return ParameterLayout::Make(std::move(tensors));
}

// What PyTorch keeps beside the statistics: how many batches they were taken
// over, one whole number, which nothing here depends on.
std::vector<std::string> CountersOf(const VisionNetwork& network) {
  std::vector<std::string> names;
  ForEachLayer(network.layers, [&](const VisionLayer& layer) {
    if (layer.kind != VisionLayer::Kind::kBatchNorm) return;
    names.push_back(layer.name + ".num_batches_tracked");
  });
  return names;
}

// How many of these the file has.
absl::StatusOr<size_t> CheckCounters(const std::vector<std::string>& names,
                                     const SafetensorsFile& file) {
  size_t count = 0;
  for (const SafeTensor& tensor : file.tensors()) {
    if (std::ranges::find(names, tensor.name) == names.end()) continue;
    if (tensor.dtype != "I64" || !tensor.shape.empty()) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is {} of shape {}, wanted one I64",
                      tensor.name, tensor.dtype, ShapeText(tensor.shape)));
    }
    ++count;
  }
  return count;
}

// Its tensors as float32: a vision model is small.
class VisionModel final : public ModelFile {
 public:
  static absl::StatusOr<std::unique_ptr<VisionModel>> Make(
      ModelConfig config, const SafetensorsFile& file) {
    std::unique_ptr<VisionModel> model(new VisionModel(std::move(config)));
    EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network,
                              NetworkOf(model->config_));
    EDGETUNE_ASSIGN_OR_RETURN(model->state_, StateOf(network));
    for (const auto& tensor : model->state_.tensors()) {
      EDGETUNE_RETURN_IF_ERROR(model->Add(tensor, file));
    }
    EDGETUNE_ASSIGN_OR_RETURN(const size_t counters,
                              CheckCounters(CountersOf(network), file));
    const size_t count = file.tensors().size() - counters;
    if (count == model->infos_.size()) return model;
    return absl::InvalidArgumentError(
        fmt::format("{} has {} tensors, {} has {}", kVisionWeightsFile, count,
                    model->config_.architecture, model->infos_.size()));
  }

  const ModelConfig& config() const override { return config_; }
  const Tokenizer& tokenizer() const override { return NoTexts<Tokenizer>(); }
  const ChatTemplate& chat_template() const override {
    return NoTexts<ChatTemplate>();
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    const auto& tensors = state_.tensors();
    const auto found =
        std::ranges::find(tensors, name, &ParameterLayout::Tensor::name);
    if (found == tensors.end()) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {}", name));
    }
    const TensorInfo& info =
        infos_[static_cast<size_t>(found - tensors.begin())];
    EDGETUNE_RETURN_IF_ERROR(
        CheckRowRange(info, row_begin, row_end, out.size()));
    const int64_t width = static_cast<int64_t>(found->count) / info.rows();
    std::copy_n(values_.begin() + static_cast<ptrdiff_t>(found->offset) +
                    row_begin * width,
                out.size(), out.begin());
    return absl::OkStatus();
  }

  void Release(const std::string& /*name*/) const override {}

 private:
  explicit VisionModel(ModelConfig config) : config_(std::move(config)) {}

  // Those who read texts have asked whether config().image is set.
  template <typename T>
  static const T& NoTexts() {
    EDGETUNE_CHECK(false);
    std::abort();
  }

  absl::Status Add(const ParameterLayout::Tensor& wanted,
                   const SafetensorsFile& file) {
    const auto found =
        std::ranges::find(file.tensors(), wanted.name, &SafeTensor::name);
    if (found == file.tensors().end()) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is missing", wanted.name));
    }
    if (found->shape != wanted.shape) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} has shape {}, wanted {}", wanted.name,
                      ShapeText(found->shape), ShapeText(wanted.shape)));
    }
    EDGETUNE_ASSIGN_OR_RETURN(const std::vector<float> values,
                              ReadFloats(*found));
    if (!std::ranges::all_of(values,
                             [](float v) { return std::isfinite(v); })) {
      return absl::DataLossError(fmt::format(
          "tensor {} holds a value that is not finite", wanted.name));
    }
    if (wanted.name.ends_with(".running_var") &&
        !std::ranges::all_of(values, [](float v) { return v >= 0; })) {
      return absl::DataLossError(
          fmt::format("tensor {} holds a variance below 0", wanted.name));
    }
    values_.insert(values_.end(), values.begin(), values.end());
    infos_.push_back(
        {wanted.name, wanted.shape, found->dtype, found->data.size()});
    return absl::OkStatus();
  }

  ModelConfig config_;
  ParameterLayout state_;
  ParameterVector values_;
  std::vector<TensorInfo> infos_;  // beside state_.tensors()
};

// `values`, laid out by `layout`, as tensors of a file.
void AddFloats(const ParameterLayout& layout, std::span<const float> values,
               std::vector<SafeTensor>& tensors) {
  EDGETUNE_CHECK(values.size() == layout.size());
  const std::span<const uint8_t> bytes(
      reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes());
  for (const auto& tensor : layout.tensors()) {
    tensors.push_back({tensor.name, "F32", tensor.shape,
                       bytes.subspan(tensor.offset * sizeof(float),
                                     tensor.count * sizeof(float))});
  }
}

// The bytes of model.safetensors.
absl::StatusOr<std::string> WeightsFile(const VisionNetwork& network,
                                        std::span<const float> values,
                                        std::span<const float> statistics) {
  static constexpr uint8_t kNoBatches[sizeof(int64_t)] = {};
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, LayoutOf(network));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout beside,
                            StatisticsOf(network));
  std::vector<SafeTensor> tensors;
  // First, so that each begins at a multiple of its size.
  for (const std::string& name : CountersOf(network)) {
    tensors.push_back({name, "I64", {}, kNoBatches});
  }
  AddFloats(layout, values, tensors);
  AddFloats(beside, statistics, tensors);
  return SerialiseSafetensors(tensors);
}

absl::StatusOr<ParameterVector> ReadTensors(const ModelFile& model,
                                            const ParameterLayout& layout) {
  const std::vector<TensorInfo>& infos = model.tensors();
  ParameterVector out(layout.size());
  for (const auto& tensor : layout.tensors()) {
    const auto info = std::ranges::find(infos, tensor.name, &TensorInfo::name);
    EDGETUNE_CHECK(info != infos.end());  // checked when it was opened
    EDGETUNE_RETURN_IF_ERROR(model.ReadRows(
        tensor.name, 0, info->rows(),
        std::span<float>(out).subspan(tensor.offset, tensor.count)));
  }
  return out;
}

}  // namespace

bool IsVisionModel(const std::string& path) {
  const auto text = ReadVisionConfig(path);
  return text.ok() && IsVisionConfig(*text);
}

absl::StatusOr<std::unique_ptr<ModelFile>> OpenVisionModel(
    const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text,
                            ReadVisionConfig(directory));
  EDGETUNE_ASSIGN_OR_RETURN(ModelConfig config, ParseVisionConfig(text));
  std::filesystem::path path =
      std::filesystem::path(directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  config.name = path.filename();
  auto file = SafetensorsFile::Open(directory + "/" + kVisionWeightsFile);
  if (!file.ok()) return Prefix(file.status(), kVisionWeightsFile);
  return VisionModel::Make(std::move(config), **file);
}

absl::Status WriteVisionModel(
    const std::string& directory, const ModelConfig& config,
    std::span<const float> values,
    const std::map<std::string, std::string>& provenance,
    std::span<const float> statistics) {
  EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network, NetworkOf(config));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string weights,
                            WeightsFile(network, values, statistics));
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write(kVisionConfigFile, VisionConfigText(config)));
  EDGETUNE_RETURN_IF_ERROR(out->Write(kVisionWeightsFile, weights));
  if (!provenance.empty()) {
    EDGETUNE_RETURN_IF_ERROR(
        out->Write(kProvenanceFile, JsonFileText(ordered_json(provenance))));
  }
  return out->Commit();
}

absl::StatusOr<ParameterVector> ReadVisionWeights(const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network,
                            NetworkOf(model.config()));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, LayoutOf(network));
  return ReadTensors(model, layout);
}

absl::Status AddChange(const ModelConfig& model, const Adapter& adapter,
                       std::span<float> weights) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(model, adapter));
  EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network, NetworkOf(model));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout all, LayoutOf(network));
  EDGETUNE_CHECK(weights.size() == all.size());
  auto at = all.tensors().begin();  // both are in the network's order
  for (const auto& changed : adapter.layout.tensors()) {
    while (at->name != changed.name) ++at;
    const auto to = weights.subspan(at->offset, at->count);
    std::transform(
        to.begin(), to.end(),
        adapter.values.begin() + static_cast<ptrdiff_t>(changed.offset),
        to.begin(), std::plus<float>());
  }
  return absl::OkStatus();
}

absl::StatusOr<ParameterVector> ReadVisionStatistics(const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network,
                            NetworkOf(model.config()));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            StatisticsOf(network));
  return ReadTensors(model, layout);
}

}  // namespace edgetune
