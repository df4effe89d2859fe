#ifndef EDGETUNE_SIMULATIONS_RUNNER_FLEET_DATA_H_
#define EDGETUNE_SIMULATIONS_RUNNER_FLEET_DATA_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/local_data.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "simulations/population/partition.h"
#include "training/example_set.h"

namespace edgetune {

// The examples of a whole fleet, tokenised once, and who holds which. Immutable
// once made and taught, thread-safe; what Read gives away is the client's own.
class FleetData {
 public:
  // `path`: a file of examples or a directory of them; of a model of images as
  // ReadImageDataSet takes it, and their labels are their classes. Where a
  // partition has no field, label and owner of an example are its file
  // ("a.train.jsonl" and "a.heldout.jsonl" are one). A natural partition with 0
  // clients has all owners. InvalidArgument (kConfig): labels are wanted and
  // all of one file; images with a field or by their owners; else as of
  // ReadTextDataSet, ReadLabels and MakePartition.
  static absl::StatusOr<std::unique_ptr<FleetData>> Make(
      const std::string& path, const PartitionSpec& partition, size_t clients,
      const v1::TaskPlan& plan, std::shared_ptr<const ModelFile> model);

  // All examples, to ask a teacher about; what it says is then the clients'.
  const ExampleSet& examples() const { return *all_; }
  void Teach(std::shared_ptr<const TeacherTargets> targets) {
    all_ = all_->WithTargets(std::move(targets));
  }

  const Partition& partition() const { return partition_; }
  const DataReport& report() const { return all_->report(); }
  // The place in partition() of a client that is in it.
  size_t NumberOf(const std::string& client) const {
    return by_name_.at(client);
  }
  // Who holds the example with the most tokens.
  std::string ClientOfLongest() const;
  // Of the client with this name: its examples, some held out as the plan says.
  // NotFound: there is none. FailedPrecondition: the plan cuts examples at
  // another length.
  absl::StatusOr<LocalData> Read(const std::string& client,
                                 const v1::TaskPlan& plan) const;

 private:
  FleetData() = default;

  std::unique_ptr<ExampleSet> all_;
  uint32_t max_length_ = 0;
  Partition partition_;
  std::map<std::string, size_t> by_name_;  // into partition_
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_FLEET_DATA_H_
