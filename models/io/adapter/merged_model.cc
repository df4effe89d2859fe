#include "models/io/adapter/merged_model.h"

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "models/io/llama_names.h"

namespace edgetune {
namespace {

// A [r,in] and B [out,r] of one matrix.
struct ScaledFactors {
  int64_t rank;
  float scale;
  const float* a;
  const float* b;
};

class MergedSource final : public TensorSource {
 public:
  MergedSource(const ModelFile& model, const Adapter& adapter) : model_(model) {
    std::map<std::string, const float*> values;
    for (const ParameterLayout::Tensor& tensor : adapter.layout.tensors()) {
      values[tensor.name] = adapter.values.data() + tensor.offset;
    }
    for (TensorInfo tensor : model.tensors()) {
      const std::string module = ModuleOf(tensor.name);
      if (const auto a = values.find(module + ".lora_A"); a != values.end()) {
        const LoraShape lora = adapter.spec.Of(module);
        factors_[tensor.name] = {lora.rank, static_cast<float>(lora.scale()),
                                 a->second, values.at(module + ".lora_B")};
        tensor.type = "F32";
      }
      tensors_.push_back(std::move(tensor));
    }
  }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    EDGETUNE_RETURN_IF_ERROR(model_.ReadRows(name, row_begin, row_end, out));
    const auto found = factors_.find(name);
    if (found == factors_.end()) return absl::OkStatus();
    const ScaledFactors& lora = found->second;
    const int64_t columns =
        static_cast<int64_t>(out.size()) / (row_end - row_begin);
    for (int64_t row = row_begin; row < row_end; ++row) {
      float* w = out.data() + (row - row_begin) * columns;
      for (int64_t k = 0; k < lora.rank; ++k) {
        const float factor = lora.scale * lora.b[row * lora.rank + k];
        const float* a = lora.a + k * columns;
        for (int64_t i = 0; i < columns; ++i) w[i] += factor * a[i];
      }
    }
    return absl::OkStatus();
  }

  void Release(const std::string& name) const override { model_.Release(name); }

 private:
  // "model.layers.0.self_attn.q_proj.weight" as an adapter names it.
  static std::string ModuleOf(std::string_view name) {
    constexpr std::string_view kPrefix = "model.", kSuffix = ".weight";
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return "";
    name.remove_prefix(kPrefix.size());
    name.remove_suffix(kSuffix.size());
    return std::string(name);
  }

  const ModelFile& model_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, ScaledFactors> factors_;
};

}  // namespace

std::unique_ptr<TensorSource> MakeMergedSource(const ModelFile& model,
                                               const Adapter& adapter) {
  return std::make_unique<MergedSource>(model, adapter);
}

}  // namespace edgetune
