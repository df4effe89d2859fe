#include "simulations/runner/fleet_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "base/status.h"
#include "client/train_plan.h"
#include "simulations/population/label_reader.h"
#include "training/example_files.h"
#include "training/image_data_set.h"
#include "training/text_data_set.h"

namespace edgetune {
namespace {

// What a file is called for its owner, or label: up to what says which kind of
// file it is, so that "noun.food.train.jsonl" and "noun.food.heldout.jsonl" are
// one.
std::string OwnerOf(const std::string& file) {
  std::string name = std::filesystem::path(file).filename().string();
  for (const char* ending :
       {".gz", ".zst", ".jsonl", ".txt", ".train", ".heldout"}) {
    if (name.ends_with(ending)) name.resize(name.size() - strlen(ending));
  }
  return name;
}

// One for each example that was read; those of files by their names.
absl::StatusOr<std::vector<std::string>> LabelsOf(
    const std::string& path, const PartitionSpec& partition) {
  using Kind = PartitionSpec::Kind;
  if (partition.kind == Kind::kIid || !partition.field.empty()) {
    return ReadLabels(path, partition.field);
  }
  std::vector<std::string> labels;
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn({path}));
  for (const std::string& file : files) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto examples, ReadLabels(file, ""));
    labels.insert(labels.end(), examples.size(), OwnerOf(file));
  }
  const bool one_file = std::ranges::all_of(
      labels, [&](const auto& label) { return label == labels.front(); });
  if (partition.kind == Kind::kNatural || !one_file) return labels;
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "this simulation.partition deals examples by their labels; "
          "simulation.field is empty, and all examples of {} are of one file, "
          "{}",
          path, labels.front())),
      ErrorKind::kConfig,
      "simulation.field names what of a JSON line is its label");
}

// Examples, and the label of each.
struct Labelled {
  std::unique_ptr<ExampleSet> examples;
  std::vector<std::string> labels;
};

absl::StatusOr<Labelled> ReadImages(const std::string& path,
                                    const PartitionSpec& partition,
                                    const ModelConfig& model) {
  if (partition.kind == PartitionSpec::Kind::kNatural ||
      !partition.field.empty()) {
    return Annotate(absl::InvalidArgumentError(
                        "images are dealt by their classes: they have neither "
                        "owners (simulation.partition) nor fields "
                        "(simulation.field)"),
                    ErrorKind::kConfig, "take iid, shards or dirichlet");
  }
  Labelled out;
  EDGETUNE_ASSIGN_OR_RETURN(out.examples, ReadImageDataSet(path, model));
  for (int64_t i = 0; i < out.examples->size(); ++i) {
    out.labels.push_back(std::to_string(out.examples->Get(i).tokens[0]));
  }
  return out;
}

absl::StatusOr<Labelled> ReadTexts(const std::string& path,
                                   const PartitionSpec& partition,
                                   const v1::TaskPlan& plan,
                                   const ModelFile& model) {
  Labelled out;
  EDGETUNE_ASSIGN_OR_RETURN(out.examples,
                            ReadTextDataSet(path, model, DataOptionsOf(plan)));
  EDGETUNE_ASSIGN_OR_RETURN(const auto read, LabelsOf(path, partition));
  // Examples without a token to learn were left out.
  for (int64_t i = 0; i < out.examples->size(); ++i) {
    out.labels.push_back(
        read[static_cast<size_t>(out.examples->PositionOf(i))]);
  }
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FleetData>> FleetData::Make(
    const std::string& path, const PartitionSpec& partition, size_t clients,
    const v1::TaskPlan& plan, std::shared_ptr<const ModelFile> model) {
  std::unique_ptr<FleetData> data(new FleetData);
  data->max_length_ = plan.data().max_length();
  EDGETUNE_ASSIGN_OR_RETURN(Labelled read,
                            model->config().image.has_value()
                                ? ReadImages(path, partition, model->config())
                                : ReadTexts(path, partition, plan, *model));
  data->all_ = std::move(read.examples);
  const std::vector<std::string>& labels = read.labels;
  if (clients == 0) {
    clients = std::set<std::string>(labels.begin(), labels.end()).size();
  }
  EDGETUNE_ASSIGN_OR_RETURN(data->partition_,
                            MakePartition(partition, labels, clients));
  for (size_t i = 0; i < data->partition_.size(); ++i) {
    data->by_name_[data->partition_[i].name] = i;
  }
  return data;
}

absl::StatusOr<LocalData> FleetData::Read(const std::string& client,
                                          const v1::TaskPlan& plan) const {
  const auto found = by_name_.find(client);
  if (found == by_name_.end()) {
    return absl::NotFoundError(
        fmt::format("no client of the fleet is called {}", client));
  }
  if (plan.data().max_length() != max_length_) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format(
            "the fleet's examples are cut at {} tokens, here {} are wanted",
            max_length_, plan.data().max_length())),
        ErrorKind::kConfig, "a simulation takes no train.memory_budget");
  }
  LocalData local =
      HoldOut(all_->Select(partition_[found->second].examples), plan, client);
  EDGETUNE_RETURN_IF_ERROR(CheckExamples(plan, local.train->size()));
  return local;
}

std::string FleetData::ClientOfLongest() const {
  const std::string* found = &partition_.front().name;
  size_t longest = 0;
  for (const ClientExamples& client : partition_) {
    for (const auto index : client.examples) {
      const size_t tokens =
          all_->Get(static_cast<int64_t>(index)).tokens.size();
      if (tokens <= longest) continue;
      longest = tokens;
      found = &client.name;
    }
  }
  return *found;
}

}  // namespace edgetune
