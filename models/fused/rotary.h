#ifndef EDGETUNE_MODELS_FUSED_ROTARY_H_
#define EDGETUNE_MODELS_FUSED_ROTARY_H_

#include <cstddef>
#include <span>

#include "models/fused/buffer.h"
#include "models/io/model_file.h"

namespace edgetune::fused {

// Angles of rotary embeddings (Su et al., 2021), with Llama 3's stretching
// where the model asks for it: cosine and sine of position * theta^(-2 i / d)
// / divisor_i, for i < d / 2.
class RotaryTable {
 public:
  explicit RotaryTable(const ModelConfig& config);

  // Fills in one row a token; positions count from `first` in every sequence.
  void Fill(std::span<const size_t> lengths, size_t first = 0);
  // [M, d/2]
  const float* cosine(size_t row) const { return cosine_.data() + row * half_; }
  const float* sine(size_t row) const { return sine_.data() + row * half_; }

 private:
  const size_t half_;
  std::vector<float> frequencies_;  // [d/2]
  Buffer<float> cosine_, sine_;
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_ROTARY_H_
