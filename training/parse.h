#ifndef EDGETUNE_TRAINING_PARSE_H_
#define EDGETUNE_TRAINING_PARSE_H_

// The words that run files, flags and plans use for training's enums.
// Stateless. InvalidArgument (kConfig) names the word and what is known.

#include <string_view>

#include "absl/status/statusor.h"
#include "training/trainer.h"

namespace edgetune {

absl::StatusOr<Precision> ParsePrecision(std::string_view word);  // "auto"...
absl::StatusOr<Schedule> ParseSchedule(std::string_view word);
std::string_view NameOf(Precision precision);
std::string_view NameOf(Schedule schedule);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_PARSE_H_
