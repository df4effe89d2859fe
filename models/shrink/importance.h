#ifndef EDGETUNE_MODELS_SHRINK_IMPORTANCE_H_
#define EDGETUNE_MODELS_SHRINK_IMPORTANCE_H_

// How much the parts of a model count: the L2 norm of a part's weights, each
// multiplied by the norm of the activation it meets where that is known
// (Wanda's |W| * ||X||; Sun et al. 2023, arXiv 2306.11695, section 3). Without
// activations this is magnitude. Biases and norms count nothing. Stateless.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/shrink/kept_parts.h"
#include "models/shrink/weight_reader.h"

namespace edgetune {

// By linear ("layers.0.mlp.down_proj", as adapters name them) the L2 norm of
// each of its inputs over some texts. Empty: not known, every norm is 1.
using InputNorms = std::map<std::string, std::vector<float>>;

// "layers.0.mlp.down_proj" of layer 0 and the last of kLlamaLinears.
std::string LinearName(int64_t layer, size_t linear);

// The norms of a whole model's linears as those of what is kept of it: layers
// under their new numbers, inputs of o and down that stay. Empty stays empty.
// Norms and parts are of a model of this configuration.
InputNorms NormsOfKept(const ModelConfig& config, const KeptParts& kept,
                       const InputNorms& norms);

// InvalidArgument: norms for some linears only, or for none that there is; of
// another number than a linear has inputs; negative or not finite.
absl::Status CheckInputNorms(const ModelConfig& config,
                             const InputNorms& norms);

// The norms of one linear, a "1" where they are not known.
class ColumnNorms {
 public:
  ColumnNorms(const InputNorms& norms, const std::string& linear);
  float Of(size_t column) const {
    return norms_.empty() ? 1.0f : norms_[column];
  }

 private:
  std::span<const float> norms_;
};

// Values in the linears of one layer: what one of the calls below reads at
// most.
uint64_t LinearValuesOf(const ModelConfig& config);

// Scores, in the order of the parts. `reader` reads `config`'s model. Errors
// of WeightReader::Read.
absl::StatusOr<double> LayerScore(const ModelConfig& config, int64_t layer,
                                  const InputNorms& norms,
                                  WeightReader* reader);
// Of feed-forward channels: rows of gate and up, columns of down.
absl::StatusOr<std::vector<double>> ChannelScores(const ModelConfig& config,
                                                  int64_t layer,
                                                  const InputNorms& norms,
                                                  WeightReader* reader);
// Of key/value heads with their query heads: rows of q, k, v, columns of o.
absl::StatusOr<std::vector<double>> GroupScores(const ModelConfig& config,
                                                int64_t layer,
                                                const InputNorms& norms,
                                                WeightReader* reader);

// Where the `count` largest scores stand, ascending; of equal ones the first.
std::vector<int64_t> LargestOf(std::span<const double> scores, int64_t count);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_IMPORTANCE_H_
