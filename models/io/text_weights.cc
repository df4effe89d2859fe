#include "models/io/text_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/status.h"
#include "models/io/hf/hf_config.h"
#include "models/io/model_tensors.h"

namespace edgetune {
namespace {

constexpr double kInitialDeviation = 0.02;
constexpr uint64_t kMaxConfigBytes = 1 << 20;

class FlatSource final : public TensorSource {
 public:
  FlatSource(const ParameterLayout& layout, std::span<const float> values) {
    for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
      values_[tensor.name] = values.subspan(tensor.offset, tensor.count);
      tensors_.push_back({.name = tensor.name,
                          .shape = tensor.shape,
                          .type = "F32",
                          .bytes = tensor.count * sizeof(float)});
    }
  }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    const auto found = values_.find(name);
    if (found == values_.end()) {
      return absl::InvalidArgumentError("there is no tensor " + name);
    }
    const auto rows = static_cast<size_t>(row_end - row_begin);
    if (row_begin < 0 || row_end <= row_begin || out.size() % rows != 0) {
      return OutsideOf(name, row_begin, row_end);
    }
    const size_t begin = static_cast<size_t>(row_begin) * (out.size() / rows);
    if (begin > found->second.size() ||
        out.size() > found->second.size() - begin) {
      return OutsideOf(name, row_begin, row_end);
    }
    std::ranges::copy(found->second.subspan(begin, out.size()), out.begin());
    return absl::OkStatus();
  }

  void Release(const std::string&) const override {}

 private:
  static absl::Status OutsideOf(const std::string& name, int64_t begin,
                                int64_t end) {
    return absl::InvalidArgumentError(
        fmt::format("rows {} to {} are not in tensor {}", begin, end, name));
  }

  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::span<const float>> values_;
};

}  // namespace

absl::StatusOr<ParameterLayout> TextLayoutOf(const ModelConfig& model) {
  if (model.image.has_value()) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "{} is a model of images, wanted one of texts",
                        model.architecture)),
                    ErrorKind::kModel);
  }
  EDGETUNE_RETURN_IF_ERROR(
      Annotate(CheckModelConfig(model), ErrorKind::kModel));
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  EDGETUNE_RETURN_IF_ERROR(ForEachTensor(model, [&](const ModelTensor& one) {
    tensors.emplace_back(one.name, one.shape);
    return absl::OkStatus();
  }));
  auto layout = ParameterLayout::Make(std::move(tensors));
  if (!layout.ok()) return Annotate(layout.status(), ErrorKind::kModel);
  return layout;
}

absl::StatusOr<ParameterVector> ReadTextWeights(const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            TextLayoutOf(model.config()));
  ParameterVector values(layout.size());
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    const int64_t rows = tensor.shape.size() < 2 ? 1 : tensor.shape[0];
    EDGETUNE_RETURN_IF_ERROR(
        model.ReadRows(tensor.name, 0, rows,
                       std::span(values).subspan(tensor.offset, tensor.count)));
    model.Release(tensor.name);
  }
  return values;
}

ParameterVector InitialTextWeights(const ParameterLayout& layout,
                                   uint64_t seed) {
  const Random root(seed);
  ParameterVector values(layout.size());
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    const auto part = std::span(values).subspan(tensor.offset, tensor.count);
    if (tensor.shape.size() == 1) {
      const bool bias = tensor.name.ends_with(".bias");
      std::ranges::fill(part, bias ? 0.0f : 1.0f);
      continue;
    }
    Random random = root.Split(tensor.name);
    for (float& value : part) {
      value = static_cast<float>(random.Normal() * kInitialDeviation);
    }
  }
  return values;
}

std::unique_ptr<TensorSource> MakeTextSource(const ParameterLayout& layout,
                                             std::span<const float> values) {
  EDGETUNE_CHECK(layout.size() == values.size());
  return std::make_unique<FlatSource>(layout, values);
}

absl::StatusOr<ModelConfig> ReadTextConfig(const std::string& path) {
  auto text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) return Annotate(text.status(), ErrorKind::kModel);
  auto config = ParseHfConfig(*text);
  if (!config.ok()) {
    return Annotate(Prefix(config.status(), path), ErrorKind::kModel);
  }
  return std::move(config->model);
}

}  // namespace edgetune
