#include "models/fused/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/status.h"
#include "models/io/llama_names.h"

namespace edgetune::fused {
namespace {

constexpr int64_t kRowsAtOnce = 256;

// Reads tensors one after the other into one buffer.
template <typename T>
class Filler {
 public:
  Filler(const ModelFile& file, Buffer<T>* out) : file_(file), out_(out) {}

  absl::Status Append(const std::string& name, int64_t rows, int64_t columns) {
    const size_t width = static_cast<size_t>(columns);
    std::vector<float> part;
    for (int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
      const int64_t end = std::min(begin + kRowsAtOnce, rows);
      part.resize(static_cast<size_t>(end - begin) * width);
      EDGETUNE_RETURN_IF_ERROR(file_.ReadRows(name, begin, end, part));
      Convert(part.data(), part.size(), out_->data() + filled_);
      filled_ += part.size();
    }
    file_.Release(name);
    return absl::OkStatus();
  }

 private:
  const ModelFile& file_;
  Buffer<T>* const out_;
  size_t filled_ = 0;
};

template <typename T>
absl::StatusOr<Buffer<T>> ReadMatrix(const ModelFile& file,
                                     const std::string& name, int64_t rows,
                                     int64_t columns) {
  Buffer<T> out(static_cast<size_t>(rows * columns));
  EDGETUNE_RETURN_IF_ERROR(Filler<T>(file, &out).Append(name, rows, columns));
  return out;
}

std::string LinearName(int64_t layer, size_t linear, const char* what) {
  return fmt::format("model.layers.{}.{}.{}", layer,
                     kLlamaLinears[linear].module, what);
}

// The linears [first, first + count) of a layer, one below the other.
template <typename T>
absl::StatusOr<Buffer<T>> ReadLinears(const ModelFile& file, int64_t layer,
                                      size_t first, size_t count) {
  int64_t size = 0;
  for (size_t i = first; i < first + count; ++i) {
    const LinearShape shape = LlamaLinearShape(file.config(), i);
    size += shape.out * shape.in;
  }
  Buffer<T> out(static_cast<size_t>(size));
  Filler<T> filler(file, &out);
  for (size_t i = first; i < first + count; ++i) {
    const LinearShape shape = LlamaLinearShape(file.config(), i);
    EDGETUNE_RETURN_IF_ERROR(
        filler.Append(LinearName(layer, i, "weight"), shape.out, shape.in));
  }
  return out;
}

absl::StatusOr<Buffer<float>> ReadBias(const ModelFile& file, int64_t layer) {
  if (!file.config().qkv_bias) return Buffer<float>();
  int64_t size = 0;
  for (size_t i = 0; i < 3; ++i) {
    size += LlamaLinearShape(file.config(), i).out;
  }
  Buffer<float> out(static_cast<size_t>(size));
  Filler<float> filler(file, &out);
  for (size_t i = 0; i < 3; ++i) {
    EDGETUNE_RETURN_IF_ERROR(
        filler.Append(LinearName(layer, i, "bias"), 1,
                      LlamaLinearShape(file.config(), i).out));
  }
  return out;
}

template <typename T>
absl::StatusOr<typename Weights<T>::Layer> ReadLayer(const ModelFile& file,
                                                     int64_t i) {
  const int64_t hidden = file.config().hidden;
  const std::string at = fmt::format("model.layers.{}.", i);
  typename Weights<T>::Layer layer;
  EDGETUNE_ASSIGN_OR_RETURN(
      layer.attention_norm,
      ReadMatrix<float>(file, at + "input_layernorm.weight", 1, hidden));
  EDGETUNE_ASSIGN_OR_RETURN(
      layer.mlp_norm,
      ReadMatrix<float>(file, at + "post_attention_layernorm.weight", 1,
                        hidden));
  EDGETUNE_ASSIGN_OR_RETURN(layer.qkv, ReadLinears<T>(file, i, 0, 3));
  EDGETUNE_ASSIGN_OR_RETURN(layer.qkv_bias, ReadBias(file, i));
  EDGETUNE_ASSIGN_OR_RETURN(layer.out, ReadLinears<T>(file, i, 3, 1));
  EDGETUNE_ASSIGN_OR_RETURN(layer.gate_up, ReadLinears<T>(file, i, 4, 2));
  EDGETUNE_ASSIGN_OR_RETURN(layer.down, ReadLinears<T>(file, i, 6, 1));
  return layer;
}

}  // namespace

template <typename T>
absl::StatusOr<Weights<T>> Weights<T>::Read(const ModelFile& file) {
  const ModelConfig& c = file.config();
  Weights out;
  EDGETUNE_ASSIGN_OR_RETURN(
      out.embedding,
      ReadMatrix<T>(file, "model.embed_tokens.weight", c.vocab, c.hidden));
  if (!c.tied) {
    EDGETUNE_ASSIGN_OR_RETURN(
        out.head, ReadMatrix<T>(file, "lm_head.weight", c.vocab, c.hidden));
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      out.norm, ReadMatrix<float>(file, "model.norm.weight", 1, c.hidden));
  for (int64_t i = 0; i < c.layers; ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(Layer layer, ReadLayer<T>(file, i));
    out.layers.push_back(std::move(layer));
  }
  return out;
}

template struct Weights<float>;
template struct Weights<BFloat16>;

}  // namespace edgetune::fused
