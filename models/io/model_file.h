#ifndef EDGETUNE_MODELS_IO_MODEL_FILE_H_
#define EDGETUNE_MODELS_IO_MODEL_FILE_H_

// A base model on disk, as the engines see it: configuration, tokenizer, chat
// template and weights, whatever the file format. One layout in memory:
// Hugging Face names, row-major [out, in], rotate-half RoPE.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/chat_template.h"
#include "models/io/tokenizer.h"

namespace edgetune {

// D hidden, F feed-forward, L layers, H query heads, K key/value heads, V
// vocabulary.
struct ModelConfig {
  std::string architecture;  // "llama"
  std::string name;          // general.name, may be empty
  int64_t hidden = 0;        // D
  int64_t ffn = 0;           // F
  int64_t layers = 0;        // L
  int64_t heads = 0;         // H
  int64_t kv_heads = 0;      // K, divides H
  int64_t head_dim = 0;      // D/H unless the file says otherwise
  int64_t vocab = 0;         // V
  int64_t context = 0;       // longest sequence the model was made for
  double rms_eps = 0;
  double rope_theta = 0;
  bool tied = false;  // the head is the embedding
};

struct TensorInfo {
  std::string name;            // Hugging Face name
  std::vector<int64_t> shape;  // row-major
  std::string type;            // "F32", "Q4_1", ...
  uint64_t bytes = 0;          // on disk
};

// Opened, mapped and fully checked (every tensor of the architecture present
// with its shape). Immutable, thread-safe. Tensor names: "model.embed_tokens.
// weight" [V,D]; "model.layers.N.{self_attn.{q,k,v,o}_proj,mlp.{gate,up,
// down}_proj,input_layernorm,post_attention_layernorm}.weight"; "model.norm.
// weight" [D]; "lm_head.weight" [V,D] unless tied.
class ModelFile {
 public:
  // A .gguf file. NotFound; InvalidArgument or DataLoss naming what is wrong,
  // annotated ErrorKind::kModel.
  static absl::StatusOr<std::unique_ptr<ModelFile>> Open(
      const std::string& path);
  virtual ~ModelFile() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ChatTemplate& chat_template() const = 0;
  virtual const std::vector<TensorInfo>& tensors() const = 0;

  // De-quantises rows [row_begin, row_end) of a tensor (a vector is one row)
  // into out, which has exactly (row_end - row_begin) * columns elements.
  // InvalidArgument: no such tensor or a range outside it.
  virtual absl::Status ReadRows(const std::string& name, int64_t row_begin,
                                int64_t row_end,
                                std::span<float> out) const = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_MODEL_FILE_H_
