#ifndef EDGETUNE_MODELS_SHRINK_SHRINK_PLAN_H_
#define EDGETUNE_MODELS_SHRINK_SHRINK_PLAN_H_

// How small a model is to become, and which of its parts then stay. Stateless.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/shrink/importance.h"
#include "models/shrink/kept_parts.h"
#include "models/shrink/weight_reader.h"

namespace edgetune {

// Widths of the feed-forward block are multiples of it, so that rows stay whole
// blocks of the smaller quantised types; k-quants want multiples of
// kSuperBlock.
inline constexpr int64_t kChannelBlock = 32, kSuperBlock = 256;

// How many of each stay; not set: all.
struct ShrinkTarget {
  std::optional<int64_t> layers = {};
  // In every layer; a multiple of kChannelBlock, or all there are.
  std::optional<int64_t> ffn = {};
  std::optional<int64_t> heads = {};  // query heads; a multiple of H/K
  // Ids below the tokenizer's size; CloseTokens adds what must stay as well.
  std::optional<std::vector<int32_t>> tokens = {};
};

// What is known about the model beside its weights.
struct ShrinkEvidence {
  InputNorms norms;
  // One a layer, the larger the more it counts, such as Block Influence,
  // 1 - cos(input, output) (Men et al. 2024, arXiv 2403.03853). Empty: the norm
  // of a layer's weights stands for it.
  std::vector<double> layers;
};

// `share`, in (0, 1), of `ffn` channels to the nearest multiple of `block`,
// which is at least one block and at most `ffn`. InvalidArgument (kUsage):
// another share.
absl::StatusOr<int64_t> ChannelsOfShare(int64_t ffn, double share,
                                        int64_t block);

// The parts with the largest scores. Reads the weights that scores need, a few
// rows at a time. InvalidArgument (kUsage): a number that the model cannot
// have; evidence that does not fit the model; errors of the progress.
absl::StatusOr<KeptParts> ChooseParts(const ModelFile& model,
                                      const ShrinkTarget& target,
                                      const ShrinkEvidence& evidence = {},
                                      ReadProgress progress = {});

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_SHRINK_PLAN_H_
