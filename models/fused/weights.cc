#include "models/fused/weights.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/status.h"
#include "models/io/llama_names.h"

namespace edgetune::fused {
namespace {

class Reader {
 public:
  Reader(const ModelFile& file, const Weights::Options& options)
      : file_(file), options_(options) {}

  absl::StatusOr<FrozenMatrix> Matrix(std::span<const std::string> names) {
    EDGETUNE_ASSIGN_OR_RETURN(auto mapped, FrozenMatrix::Map(file_, names));
    const size_t bytes = options_.type == BlockType::kBF16 ? 2 : 4;
    const bool larger =
        mapped.stored_bytes() > mapped.rows() * mapped.width() * bytes;
    if (!options_.copy && !larger && mapped.has_kernels()) return mapped;
    return Released(names, mapped.Copy(options_.type));
  }

  // The linears [first, first + count) of a layer, one below the other.
  absl::StatusOr<FrozenMatrix> Linears(int64_t layer, size_t first,
                                       size_t count) {
    std::vector<std::string> names;
    for (size_t i = first; i < first + count; ++i) {
      names.push_back(LinearName(layer, i, "weight"));
    }
    if (!options_.int8_linears) return Matrix(names);
    EDGETUNE_ASSIGN_OR_RETURN(auto mapped, FrozenMatrix::Map(file_, names));
    return Released(names, mapped.Quantise());
  }

  absl::StatusOr<Buffer<float>> Vector(const std::string& name, int64_t size) {
    Buffer<float> out(static_cast<size_t>(size));
    EDGETUNE_RETURN_IF_ERROR(Append(name, size, out.data()));
    return out;
  }

  absl::StatusOr<Buffer<float>> Bias(int64_t layer) {
    if (!file_.config().qkv_bias) return Buffer<float>();
    int64_t size = 0;
    for (size_t i = 0; i < 3; ++i) size += Outputs(i);
    Buffer<float> out(static_cast<size_t>(size));
    float* to = out.data();
    for (size_t i = 0; i < 3; ++i) {
      EDGETUNE_RETURN_IF_ERROR(
          Append(LinearName(layer, i, "bias"), Outputs(i), to));
      to += Outputs(i);
    }
    return out;
  }

  absl::StatusOr<Weights::Layer> Layer(int64_t i) {
    const int64_t hidden = file_.config().hidden;
    const std::string at = fmt::format("model.layers.{}.", i);
    Weights::Layer layer;
    EDGETUNE_ASSIGN_OR_RETURN(layer.attention_norm,
                              Vector(at + "input_layernorm.weight", hidden));
    EDGETUNE_ASSIGN_OR_RETURN(
        layer.mlp_norm, Vector(at + "post_attention_layernorm.weight", hidden));
    EDGETUNE_ASSIGN_OR_RETURN(layer.qkv, Linears(i, 0, 3));
    EDGETUNE_ASSIGN_OR_RETURN(layer.qkv_bias, Bias(i));
    EDGETUNE_ASSIGN_OR_RETURN(layer.out, Linears(i, 3, 1));
    EDGETUNE_ASSIGN_OR_RETURN(layer.gate_up, Linears(i, 4, 2));
    EDGETUNE_ASSIGN_OR_RETURN(layer.down, Linears(i, 6, 1));
    return layer;
  }

 private:
  static std::string LinearName(int64_t layer, size_t linear,
                                const char* what) {
    return fmt::format("model.layers.{}.{}.{}", layer,
                       kLlamaLinears[linear].module, what);
  }
  int64_t Outputs(size_t linear) const {
    return LlamaLinearShape(file_.config(), linear).out;
  }
  FrozenMatrix Released(std::span<const std::string> names,
                        FrozenMatrix matrix) {
    for (const std::string& name : names) file_.Release(name);
    return matrix;
  }
  absl::Status Append(const std::string& name, int64_t size, float* to) {
    return file_.ReadRows(name, 0, 1, {to, static_cast<size_t>(size)});
  }

  const ModelFile& file_;
  const Weights::Options options_;
};

}  // namespace

absl::StatusOr<Weights> Weights::Read(std::shared_ptr<const ModelFile> file,
                                      const Options& options) {
  const ModelConfig& c = file->config();
  Reader reader(*file, options);
  Weights out;
  EDGETUNE_ASSIGN_OR_RETURN(
      out.embedding,
      reader.Matrix(std::vector<std::string>{"model.embed_tokens.weight"}));
  if (!c.tied) {
    EDGETUNE_ASSIGN_OR_RETURN(
        out.head, reader.Matrix(std::vector<std::string>{"lm_head.weight"}));
  }
  EDGETUNE_ASSIGN_OR_RETURN(out.norm,
                            reader.Vector("model.norm.weight", c.hidden));
  for (int64_t i = 0; i < c.layers; ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(Layer layer, reader.Layer(i));
    out.layers.push_back(std::move(layer));
  }
  out.file = std::move(file);
  return out;
}

}  // namespace edgetune::fused
