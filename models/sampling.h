#ifndef EDGETUNE_MODELS_SAMPLING_H_
#define EDGETUNE_MODELS_SAMPLING_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "base/random.h"
#include "models/language_model.h"

namespace edgetune {

// InvalidArgument (kUsage): temperature negative or not finite, top_k
// negative, top_p outside (0, 1], repeat_penalty outside [0.1, 10], max_tokens
// negative.
absl::Status CheckGenerateOptions(const GenerateOptions& options);

// Divides the positive logits [V] of tokens that stand in `seen` by `penalty`
// and multiplies the others of these by it, once each (Keskar et al., 2019,
// section 4.1; as transformers does).
void PenaliseRepeats(std::span<const int32_t> seen, double penalty,
                     std::span<float> logits);

// One token from logits [V]. Temperature 0: the highest, the first on ties.
// Else softmax(logits / temperature) over the top_k highest, of these the
// fewest whose probability reaches top_p (Holtzman et al., 2020).
int32_t SampleToken(std::span<const float> logits,
                    const GenerateOptions& options, Random& random);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SAMPLING_H_
