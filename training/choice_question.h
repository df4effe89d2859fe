#ifndef EDGETUNE_TRAINING_CHOICE_QUESTION_H_
#define EDGETUNE_TRAINING_CHOICE_QUESTION_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "training/json_example.h"

namespace edgetune {

// A multiple-choice question. `context` is what stands before the answer:
// messages of a chat, or a text (`prompt`); its completion is empty.
struct ChoiceQuestion {
  JsonExample context;
  std::vector<std::string> choices;  // 2 to 26, none empty
  size_t answer = 0;                 // the right one
};

// {"question": ..., "choices": [...], "answer": 0 or "A"}. "question": what the
// user says in a chat; "messages": a chat; "prompt": a chat's messages, or a
// text that the choices continue as they stand. InvalidArgument says what is
// wrong with the line, never what stands in it.
absl::StatusOr<ChoiceQuestion> ParseChoiceQuestion(std::string_view line);

// The questions of files or directories. kData names file:line; none at all is
// an error.
absl::StatusOr<std::vector<ChoiceQuestion>> ReadChoiceQuestions(
    const std::string& path);
// Whether the first line of examples has "choices". False for what cannot be
// read: whoever reads it says why.
bool HoldsChoiceQuestions(const std::string& path);

// Context and choice, the choice's tokens labelled: those whose bytes overlap
// it. No end of turn or text follows.
absl::StatusOr<LabelledTokens> EncodeChoice(const ModelFile& model,
                                            const ChoiceQuestion& question,
                                            size_t choice);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_CHOICE_QUESTION_H_
