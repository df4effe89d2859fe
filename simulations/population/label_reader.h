#ifndef EDGETUNE_SIMULATIONS_POPULATION_LABEL_READER_H_
#define EDGETUNE_SIMULATIONS_POPULATION_LABEL_READER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// What stands under `field` in each example of a file of JSON lines (plain, .gz
// or .zst) or of a directory of them, in the order in which training reads
// them; blank lines are no examples. Counted before ExampleSet leaves out
// lines without a token to learn. Text as it is, numbers and true or false
// as JSON writes them: 1 and "1" are one label. An empty `field` asks for
// nothing: an empty text for each example, whose lines are not parsed.
//
// Errors are kData, name file:line, and never show what stands there:
// InvalidArgument (no such field; another kind of value; a number that a double
// does not hold exactly, so that two could look alike; not a JSON object; plain
// text; no example), and those of LineReader.
absl::StatusOr<std::vector<std::string>> ReadLabels(
    const std::string& jsonl_path, const std::string& field);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_LABEL_READER_H_
