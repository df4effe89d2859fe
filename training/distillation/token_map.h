#ifndef EDGETUNE_TRAINING_DISTILLATION_TOKEN_MAP_H_
#define EDGETUNE_TRAINING_DISTILLATION_TOKEN_MAP_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "privacy/crypto/hash.h"

namespace edgetune {

// Which token of the teacher each row of the student's vocabulary is, so that
// a text of the student's tokens is one of the teacher's, and what the teacher
// says of them can be compared. Empty: the vocabularies are the same, row by
// row. Else the student's tokens are some of the teacher's (a vocabulary that
// was pruned): the same texts of the same kind, cut in the same way, joined by
// merges that the teacher has too. InvalidArgument (kModel): anything else; the
// message says what differs. Stateless.
absl::StatusOr<std::vector<int32_t>> MapTokens(const ModelConfig& student,
                                               const TokenizerData& own,
                                               const ModelConfig& teacher,
                                               const TokenizerData& others);

// Of everything that decides how a text becomes tokens.
Digest TokenizerDigest(const TokenizerData& tokenizer);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_TOKEN_MAP_H_
