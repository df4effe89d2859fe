#include "models/io/vision/vision_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "base/atomic_directory.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/hf/safetensors.h"
#include "models/io/model_tensors.h"
#include "models/io/strict_json.h"
#include "models/io/vision/vision_network.h"

namespace edgetune {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr char kConfigFile[] = "config.json";
constexpr char kVisionWeightsFile[] = "model.safetensors";

absl::StatusOr<json> ReadVisionConfig(const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const std::string text,
      ReadFile(directory + "/" + kConfigFile, kMaxConfig));
  return ParseStrictJson(text, kConfigFile);
}

absl::StatusOr<int64_t> Whole(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found != config.end() && found->is_number_integer()) {
    return found->get<int64_t>();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: \"{}\" must be a whole number", kConfigFile, key));
}

absl::StatusOr<ModelConfig> ConfigOf(const json& root) {
  const std::set<std::string> known = {"architecture", "channels", "height",
                                       "width", "classes"};
  if (!root.is_object() || !root.contains("architecture") ||
      !root["architecture"].is_string()) {
    return absl::InvalidArgumentError(
        fmt::format("{} must name an architecture", kConfigFile));
  }
  for (const auto& [key, value] : root.items()) {
    if (known.contains(key)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" is not known", kConfigFile, key));
  }
  ModelConfig config;
  config.architecture = root["architecture"].get<std::string>();
  ImageShape image;
  EDGETUNE_ASSIGN_OR_RETURN(image.channels, Whole(root, "channels"));
  EDGETUNE_ASSIGN_OR_RETURN(image.height, Whole(root, "height"));
  EDGETUNE_ASSIGN_OR_RETURN(image.width, Whole(root, "width"));
  config.image = image;
  EDGETUNE_ASSIGN_OR_RETURN(config.vocab, Whole(root, "classes"));
  config.context = 1;
  EDGETUNE_RETURN_IF_ERROR(Prefix(NetworkOf(config).status(), kConfigFile));
  return config;
}

// Its tensors as float32: a vision model is small.
class VisionModel final : public ModelFile {
 public:
  static absl::StatusOr<std::unique_ptr<VisionModel>> Make(
      ModelConfig config, const SafetensorsFile& file) {
    std::unique_ptr<VisionModel> model(new VisionModel(std::move(config)));
    EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network,
                              NetworkOf(model->config_));
    EDGETUNE_ASSIGN_OR_RETURN(model->layout_, LayoutOf(network));
    for (const auto& tensor : model->layout_.tensors()) {
      EDGETUNE_RETURN_IF_ERROR(model->Add(tensor, file));
    }
    if (file.tensors().size() == model->infos_.size()) return model;
    return absl::InvalidArgumentError(
        fmt::format("{} has {} tensors, {} has {}", kVisionWeightsFile,
                    file.tensors().size(), model->config_.architecture,
                    model->infos_.size()));
  }

  const ModelConfig& config() const override { return config_; }
  const Tokenizer& tokenizer() const override { return NoTexts<Tokenizer>(); }
  const ChatTemplate& chat_template() const override {
    return NoTexts<ChatTemplate>();
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    const auto& tensors = layout_.tensors();
    const auto found =
        std::ranges::find(tensors, name, &ParameterLayout::Tensor::name);
    if (found == tensors.end()) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {}", name));
    }
    const TensorInfo& info =
        infos_[static_cast<size_t>(found - tensors.begin())];
    const auto count = static_cast<int64_t>(found->count);
    const int64_t width = count / info.rows();
    if (row_begin < 0 || row_begin > row_end || row_end > info.rows() ||
        out.size() != static_cast<size_t>((row_end - row_begin) * width)) {
      return absl::InvalidArgumentError(fmt::format(
          "rows {} to {} of {} {} do not fit {} elements", row_begin, row_end,
          name, ShapeText(info.shape), out.size()));
    }
    std::copy_n(values_.begin() + static_cast<ptrdiff_t>(found->offset) +
                    row_begin * width,
                out.size(), out.begin());
    return absl::OkStatus();
  }

  void Release(const std::string& /*name*/) const override {}

  const ParameterVector& values() const { return values_; }

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
    values_.insert(values_.end(), values.begin(), values.end());
    infos_.push_back(
        {wanted.name, wanted.shape, found->dtype, found->data.size()});
    return absl::OkStatus();
  }

  ModelConfig config_;
  ParameterLayout layout_;
  ParameterVector values_;
  std::vector<TensorInfo> infos_;  // beside layout_.tensors()
};

}  // namespace

bool IsVisionModel(const std::string& path) {
  const auto config = ReadVisionConfig(path);
  return config.ok() && config->is_object() && config->contains("architecture");
}

absl::StatusOr<ModelConfig> ParseVisionConfig(std::string_view text) {
  EDGETUNE_ASSIGN_OR_RETURN(const json root,
                            ParseStrictJson(text, kConfigFile));
  return ConfigOf(root);
}

absl::StatusOr<std::unique_ptr<ModelFile>> OpenVisionModel(
    const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(const json root, ReadVisionConfig(directory));
  EDGETUNE_ASSIGN_OR_RETURN(ModelConfig config, ConfigOf(root));
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
    const std::map<std::string, std::string>& provenance) {
  EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network, NetworkOf(config));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, LayoutOf(network));
  EDGETUNE_CHECK(values.size() == layout.size());
  const std::span<const uint8_t> bytes(
      reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes());
  std::vector<SafeTensor> tensors;
  for (const auto& tensor : layout.tensors()) {
    tensors.push_back({tensor.name, "F32", tensor.shape,
                       bytes.subspan(tensor.offset * sizeof(float),
                                     tensor.count * sizeof(float))});
  }
  EDGETUNE_ASSIGN_OR_RETURN(const std::string weights,
                            SerialiseSafetensors(tensors));
  const ordered_json text = {{"architecture", config.architecture},
                             {"channels", config.image->channels},
                             {"height", config.image->height},
                             {"width", config.image->width},
                             {"classes", config.vocab}};
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  EDGETUNE_RETURN_IF_ERROR(out->Write(kConfigFile, JsonFileText(text)));
  EDGETUNE_RETURN_IF_ERROR(out->Write(kVisionWeightsFile, weights));
  if (!provenance.empty()) {
    EDGETUNE_RETURN_IF_ERROR(
        out->Write(kProvenanceFile, JsonFileText(ordered_json(provenance))));
  }
  return out->Commit();
}

absl::StatusOr<ParameterVector> ReadVisionWeights(const ModelFile& model) {
  ParameterVector out;
  for (const TensorInfo& tensor : model.tensors()) {
    const auto rows = static_cast<size_t>(tensor.rows());
    size_t count = 1;
    for (const int64_t d : tensor.shape) count *= static_cast<size_t>(d);
    const size_t begin = out.size();
    out.resize(begin + count);
    EDGETUNE_RETURN_IF_ERROR(
        model.ReadRows(tensor.name, 0, static_cast<int64_t>(rows),
                       std::span<float>(out).subspan(begin)));
  }
  return out;
}

}  // namespace edgetune
