#ifndef EDGETUNE_MODELS_IO_MODEL_TENSORS_H_
#define EDGETUNE_MODELS_IO_MODEL_TENSORS_H_

// Which tensors an architecture has, under both names, and the rotary scaling
// that one format keeps as parameters and the other as a tensor (formats
// design, sections 2 and 3). Stateless.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/io/model_file.h"

namespace edgetune {

// Of a head_dim/2 vector of divisors that GGUF keeps beside the weights.
inline constexpr char kRopeFreqsTensor[] = "rope_freqs.weight";

// Largest width of anything that a file may claim.
inline constexpr int64_t kMaxDimension = int64_t{1} << 24;

struct ModelTensor {
  std::string name;            // Hugging Face
  std::string gguf;            // without permutation the same tensor
  std::vector<int64_t> shape;  // row-major
  bool permuted;               // rows stand in another order in GGUF
};

// In the order of the forward pass, rope_freqs.weight left out. What `visit`
// returns ends it unless OK. Nothing is allocated for the layers that a file
// merely claims to have.
absl::Status ForEachTensor(
    const ModelConfig& config,
    const std::function<absl::Status(const ModelTensor&)>& visit);

// "[64,96]", for messages.
std::string ShapeText(std::span<const int64_t> shape);

// InvalidArgument unless [row_begin, row_end) are rows of the tensor and hold
// `elements`; a row of more than two dimensions is all but the first.
absl::Status CheckRowRange(const TensorInfo& info, int64_t row_begin,
                           int64_t row_end, size_t elements);

// Sizes that no engine can run, or that do not belong together, whatever the
// file: InvalidArgument.
absl::Status CheckModelConfig(const ModelConfig& config);

// Divisors of the head_dim/2 rotary frequencies.
std::vector<float> RopeDivisorsOf(const Llama3RopeScaling& scaling,
                                  double theta, int64_t head_dim);
// Parameters that give these divisors (to 1e-5), if there are such with low
// factor 1, high factor 4 and a power of two as original context. Others
// describe the same curve only when they are multiples of these.
std::optional<Llama3RopeScaling> RopeScalingOf(std::span<const float> divisors,
                                               double theta);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_MODEL_TENSORS_H_
