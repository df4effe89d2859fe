#ifndef EDGETUNE_TOOLS_LOCAL_CHOICE_SCORING_H_
#define EDGETUNE_TOOLS_LOCAL_CHOICE_SCORING_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/language_model.h"
#include "training/choice_question.h"

namespace edgetune {

// One question's choices, in order.
struct ChoiceScores {
  std::vector<double> log_probabilities;  // sum over the choice's tokens
  std::vector<int64_t> tokens;            // of these sums
  std::vector<int64_t> bytes;             // of the choice, UTF-8
  size_t answer = 0;
};

// InvalidArgument (kData): longer than the context.
absl::StatusOr<ChoiceScores> ScoreChoices(LanguageModel& model,
                                          const ModelFile& file,
                                          const ChoiceQuestion& question);

// What the sums are divided by before the highest is taken. Longer choices have
// lower sums, whatever they say.
enum class ChoiceNorm { kSum, kToken, kByte };
inline constexpr ChoiceNorm kChoiceNorms[] = {
    ChoiceNorm::kSum, ChoiceNorm::kToken, ChoiceNorm::kByte};
const char* NameOf(ChoiceNorm norm);  // "sum", "per_token", "per_byte"

// The choice with the highest score, the first on ties.
size_t BestChoice(const ChoiceScores& scores, ChoiceNorm norm);

// Bounds of a share that holds in 95 of 100 cases (Wilson, 1927). n > 0.
std::pair<double, double> WilsonInterval(int64_t hits, int64_t n);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_CHOICE_SCORING_H_
