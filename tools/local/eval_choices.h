#ifndef EDGETUNE_TOOLS_LOCAL_EVAL_CHOICES_H_
#define EDGETUNE_TOOLS_LOCAL_EVAL_CHOICES_H_

#include <string>

#include "absl/status/status.h"
#include "tools/local/scoring.h"
#include "tools/output.h"

namespace edgetune {

struct EvalChoicesOptions {
  std::string data;           // questions
  std::string per_question;   // file for one JSON line a question; empty: none
  int64_t max_questions = 0;  // 0: all
};

// `eval` on multiple-choice questions: accuracies by sum of log-probabilities,
// and by that sum for each token and each byte of a choice; with an adapter
// both of the base and of the tuned model, and where they differ. kData names
// file:line of a bad question, or the number of one that is too long.
absl::Status EvaluateChoices(const ScoringOptions& scoring,
                             const EvalChoicesOptions& options,
                             const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_EVAL_CHOICES_H_
