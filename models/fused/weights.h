#ifndef EDGETUNE_MODELS_FUSED_WEIGHTS_H_
#define EDGETUNE_MODELS_FUSED_WEIGHTS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "models/fused/frozen_matrix.h"
#include "models/io/model_file.h"

namespace edgetune::fused {

// The frozen weights of a model, which serve the forward and the backward pass.
// D hidden, F feed-forward, H query and K key/value heads of d, V vocabulary.
// Immutable once read.
struct Weights {
  struct Layer {
    Buffer<float> attention_norm, mlp_norm;  // [D]
    FrozenMatrix qkv;                        // [(H + 2 K) d, D]
    Buffer<float> qkv_bias;                  // [(H + 2 K) d], or empty
    FrozenMatrix out;                        // [D, H d]
    FrozenMatrix gate_up;                    // [2 F, D]
    FrozenMatrix down;                       // [D, F]
  };

  FrozenMatrix embedding;  // [V, D]
  FrozenMatrix head;       // [V, D]; no rows: the embedding
  Buffer<float> norm;      // [D]
  std::vector<Layer> layers;
  std::shared_ptr<const ModelFile> file;  // what is mapped

  const FrozenMatrix& projection() const {
    return head.rows() == 0 ? embedding : head;
  }

  struct Options {
    BlockType type = BlockType::kF32;  // of products: kF32 or kBF16
    bool copy = false;                 // every matrix as `type`
    bool int8_linears = false;         // those of layers in 8 bits
  };
  // Matrices stay where the file has them, but for what the options say; those
  // that take more bytes there than as `type`, or are of a type without fast
  // kernels, are copied too. What was mapped
  // of a matrix that is not used from there is released. Errors are those of
  // ModelFile.
  static absl::StatusOr<Weights> Read(std::shared_ptr<const ModelFile> file,
                                      const Options& options);
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_WEIGHTS_H_
