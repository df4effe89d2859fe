#ifndef EDGETUNE_MODELS_IO_MODEL_FILE_H_
#define EDGETUNE_MODELS_IO_MODEL_FILE_H_

// A base model on disk, as the engines see it: configuration, tokenizer, chat
// template and weights, whatever the file format. One layout in memory:
// Hugging Face names, row-major [out, in], rotate-half RoPE. A model of images
// (models/io/vision) has neither tokenizer nor template.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/chat_template.h"
#include "models/io/tensor_source.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

// Llama 3's stretching of low rotary frequencies (formats design, section 2).
struct Llama3RopeScaling {
  double factor = 0;
  double low_freq_factor = 0, high_freq_factor = 0;  // low < high
  int64_t original_context = 0;
  bool operator==(const Llama3RopeScaling&) const = default;
};

// C channels, H rows of W pixels.
struct ImageShape {
  int64_t channels = 0, height = 0, width = 0;
  int64_t size() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

// What a model of images is given of a pixel's value v in [0, 1]: less its
// channel's mean, divided by its deviation. One of each a channel; none: v.
struct PixelNorm {
  std::vector<double> mean, deviation;
  bool operator==(const PixelNorm&) const = default;
};

// How an architecture of images is varied, where it can be
// (vision/vision_network.h).
struct VisionVariant {
  // kBatch: by the base model's fixed statistics. kGroup: of each image alone
  // (Wu, He 2018), without statistics.
  enum class Norm { kBatch, kGroup };
  double width_multiplier = 1;  // of the numbers of channels
  Norm norm = Norm::kBatch;
  bool operator==(const VisionVariant&) const = default;
};

// D hidden, F feed-forward, L layers, H query heads, K key/value heads, V
// vocabulary.
struct ModelConfig {
  std::string architecture;  // "llama" or "qwen2"; of images: vision_network.h
  std::string name;          // for people, may be empty
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
  // Rotary frequency i is divided by rope_divisors[i] (head_dim/2 of them);
  // empty: not scaled. `rope_scaling` says how they came about, where known.
  std::vector<float> rope_divisors;
  std::optional<Llama3RopeScaling> rope_scaling;
  bool tied = false;      // the head is the embedding
  bool qkv_bias = false;  // q, k and v have biases (qwen2)
  // Ids that end a text; the first is the tokenizer's eos where that is known.
  std::vector<int32_t> end_tokens;
  // Set: it classifies images of this shape. V counts its classes, `context` is
  // 1, and of the other fields only architecture, name and the two below count.
  std::optional<ImageShape> image;
  PixelNorm pixels;
  VisionVariant variant;
};

// Opened, mapped and fully checked (every tensor of the architecture present
// with its shape). Immutable, thread-safe. Tensor names: "model.embed_tokens.
// weight" [V,D]; "model.layers.N.{self_attn.{q,k,v,o}_proj,mlp.{gate,up,
// down}_proj,input_layernorm,post_attention_layernorm}.weight"; with qkv_bias
// "model.layers.N.self_attn.{q,k,v}_proj.bias"; "model.norm.weight" [D];
// "lm_head.weight" [V,D] unless tied. Of images: those of its network
// (vision/vision_network.h).
class ModelFile : public TensorSource {
 public:
  // A .gguf file, a Hugging Face directory (config.json, safetensors in one
  // file or several, tokenizer.json), or a directory of a vision model
  // (vision/vision_model.h). A chat template that is not ChatML does
  // not stop a model from opening. NotFound; InvalidArgument or DataLoss
  // naming what is wrong, annotated ErrorKind::kModel.
  static absl::StatusOr<std::unique_ptr<ModelFile>> Open(
      const std::string& path);

  // Names, sorted, of the files that Open reads in that directory; those that
  // may be left out only where they are.
  static absl::StatusOr<std::vector<std::string>> FilesOf(
      const std::string& directory);

  virtual const ModelConfig& config() const = 0;
  // Of texts alone, as chat_template(). Knows V tokens or fewer: an embedding
  // may be padded with unused rows.
  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ChatTemplate& chat_template() const = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_MODEL_FILE_H_
