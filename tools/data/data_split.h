#ifndef EDGETUNE_TOOLS_DATA_DATA_SPLIT_H_
#define EDGETUNE_TOOLS_DATA_DATA_SPLIT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/data/partition.h"

namespace edgetune {

struct SplitOptions {
  std::vector<std::string> files;  // JSON lines, or directories of these
  std::string out;                 // directory, made
  double holdout = 0.1;
  PartitionOptions partition;
  bool one_set = true;  // no clients: train.jsonl and heldout.jsonl
  std::string field;    // of kField and kDirichlet
};

struct SplitPart {
  std::string train, heldout;  // paths; heldout empty: nothing held out
  int64_t train_examples = 0, heldout_examples = 0;
  std::string value;   // of the field, when all its examples share one
  int64_t values = 0;  // how many it has
};

struct SplitResult {
  std::string schema;
  std::vector<SplitPart> parts;
  // Held-out examples whose content some part trains on, too.
  int64_t leaked = 0;
};

// Deals examples out to clients and holds some of each one's out. Lines stay as
// they are, in an order that the seed decides. `out` appears whole or not at
// all; holds the lines in memory. kUsage: `out` exists and is not empty, too
// few examples; kData names file:line; kFailed: interrupted. `on_bytes` is told
// how many bytes of all files are read.
absl::StatusOr<SplitResult> SplitExamples(
    SplitOptions options, const std::function<void(uint64_t)>& on_bytes);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_DATA_DATA_SPLIT_H_
