#ifndef EDGETUNE_MODELS_TORCH_SAMPLING_H_
#define EDGETUNE_MODELS_TORCH_SAMPLING_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "base/random.h"
#include "models/language_model.h"

namespace edgetune {

// InvalidArgument (kUsage): temperature negative or not finite, top_k
// negative, top_p outside (0, 1], max_tokens negative.
absl::Status CheckGenerateOptions(const GenerateOptions& options);

// One token from logits [V]. Temperature 0: the highest, the first on ties.
// Else softmax(logits / temperature) over the top_k highest, of these the
// fewest whose probability reaches top_p (Holtzman et al., 2020).
int32_t SampleToken(std::span<const float> logits,
                    const GenerateOptions& options, Random& random);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_SAMPLING_H_
