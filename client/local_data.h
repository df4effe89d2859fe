#ifndef EDGETUNE_CLIENT_LOCAL_DATA_H_
#define EDGETUNE_CLIENT_LOCAL_DATA_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "config/daemon_files.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "training/example_set.h"

namespace edgetune {

// What a device trains on and what it is measured on. Immutable once read.
struct LocalData {
  std::unique_ptr<ExampleSet> train;
  std::unique_ptr<ExampleSet> heldout;  // null: nothing to measure on
  DataReport report;  // of the training file, before any split
};

// `[data] name`, or the stem of the training file.
std::string DataName(const ClientFile::Data& data);

// NotFound (kData) naming the file that cannot be read: told at start, before
// anything is downloaded.
absl::Status CheckDataFiles(const ClientFile::Data& data);

// Reads what the model takes: texts, which are tokenised, or images. A held-out
// file overrides the plan's `holdout`;
// without either nothing is held out, and a single example is not split.
// InvalidArgument (kData) names file:line. FailedPrecondition: the plan's
// epochs are too many steps on so many examples (CheckExamples).
absl::StatusOr<LocalData> ReadLocalData(const ClientFile::Data& data,
                                        const v1::TaskPlan& plan,
                                        const ModelFile& model);
// The same of examples that are read already: holds out as the plan says.
LocalData HoldOut(std::unique_ptr<ExampleSet> all, const v1::TaskPlan& plan,
                  std::string_view data_name);
// Where a client's data comes from; of a device: ReadLocalData.
using ReadData = std::function<absl::StatusOr<LocalData>(
    const ClientFile::Data& data, const v1::TaskPlan& plan,
    const ModelFile& model)>;

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_LOCAL_DATA_H_
