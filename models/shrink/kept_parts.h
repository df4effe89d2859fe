#ifndef EDGETUNE_MODELS_SHRINK_KEPT_PARTS_H_
#define EDGETUNE_MODELS_SHRINK_KEPT_PARTS_H_

// What of a model stays when it is cut: whole layers, in them channels of the
// feed-forward block and groups of attention heads, and tokens. Stateless.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"

namespace edgetune {

// Numbers are those of the whole model, ascending, so that what stays keeps
// its order.
struct KeptLayer {
  int64_t layer = 0;
  std::vector<int64_t> channels;  // rows of gate and up, columns of down
  // A key/value head with the H/K query heads that read it: rows of q, k and
  // v, columns of o.
  std::vector<int64_t> groups;
};

struct KeptParts {
  std::vector<KeptLayer> layers;
  // Ids of the tokenizer; not set: every row of the embedding, also those
  // that only pad it.
  std::optional<std::vector<int32_t>> tokens;
};

KeptParts EverythingOf(const ModelConfig& config);

// What the configuration of the cut model is: sizes, and end tokens under
// their new ids. InvalidArgument: no layer, channel or group left, numbers not
// ascending or outside the model, layers that keep different numbers (no file
// format can say so), an end token that is cut.
absl::StatusOr<ModelConfig> ConfigOfKept(const ModelConfig& config,
                                         const KeptParts& kept);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_KEPT_PARTS_H_
