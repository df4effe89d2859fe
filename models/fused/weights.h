#ifndef EDGETUNE_MODELS_FUSED_WEIGHTS_H_
#define EDGETUNE_MODELS_FUSED_WEIGHTS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "models/fused/buffer.h"
#include "models/io/model_file.h"

namespace edgetune::fused {

// The frozen weights of a model in the type T of its products: one copy, which
// serves the forward and the backward pass. D hidden, F feed-forward, H query
// and K key/value heads of d, V vocabulary. Immutable once read.
template <typename T>
struct Weights {
  struct Layer {
    Buffer<float> attention_norm, mlp_norm;  // [D]
    Buffer<T> qkv;                           // [(H + 2 K) d, D]
    Buffer<float> qkv_bias;                  // [(H + 2 K) d], or empty
    Buffer<T> out;                           // [D, H d]
    Buffer<T> gate_up;                       // [2 F, D]
    Buffer<T> down;                          // [D, F]
  };

  Buffer<T> embedding;  // [V, D]
  Buffer<T> head;       // [V, D], or empty: the embedding
  Buffer<float> norm;   // [D]
  std::vector<Layer> layers;

  // De-quantises a few rows at a time; errors are those of ReadRows.
  static absl::StatusOr<Weights> Read(const ModelFile& file);
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_WEIGHTS_H_
