#include "client/local_data.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <tuple>
#include <utility>

#include "base/status.h"
#include "client/train_plan.h"
#include "training/image_data_set.h"
#include "training/text_data_set.h"

namespace edgetune {

std::string DataName(const ClientFile::Data& data) {
  if (!data.name.empty()) return data.name;
  return std::filesystem::path(data.train).stem().string();
}

absl::Status CheckDataFiles(const ClientFile::Data& data) {
  if (data.train.empty()) {
    return Annotate(absl::InvalidArgumentError("no training data is named"),
                    ErrorKind::kData,
                    "set [data] train in client.toml, or use --data");
  }
  for (const std::string& path : {data.train, data.heldout}) {
    if (path.empty() || access(path.c_str(), R_OK) == 0) continue;
    return Annotate(ErrnoStatus(errno, "cannot read", path), ErrorKind::kData,
                    "[data] in client.toml names the device's examples");
  }
  return absl::OkStatus();
}

namespace {

absl::StatusOr<std::unique_ptr<ExampleSet>> ReadExamples(
    const std::string& path, const v1::TaskPlan& plan, const ModelFile& model) {
  auto examples = model.config().image.has_value()
                      ? ReadImageDataSet(path, model.config())
                      : ReadTextDataSet(path, model, DataOptionsOf(plan));
  if (examples.ok()) return examples;
  return Annotate(examples.status(), ErrorKind::kData);
}

absl::StatusOr<LocalData> ReadAndSplit(const ClientFile::Data& data,
                                       const v1::TaskPlan& plan,
                                       const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(auto all, ReadExamples(data.train, plan, model));
  if (data.heldout.empty()) {
    return HoldOut(std::move(all), plan, DataName(data));
  }
  LocalData local;
  EDGETUNE_ASSIGN_OR_RETURN(local.heldout,
                            ReadExamples(data.heldout, plan, model));
  local.report = all->report();
  local.train = std::move(all);
  return local;
}

}  // namespace

LocalData HoldOut(std::unique_ptr<ExampleSet> all, const v1::TaskPlan& plan,
                  std::string_view data_name) {
  LocalData local;
  local.report = all->report();
  const double share = plan.data().holdout();
  if (share <= 0 || all->size() < 2) {
    local.train = std::move(all);
    return local;
  }
  std::tie(local.train, local.heldout) =
      all->Split(share, HeldOutSeed(plan.train().seed(), data_name));
  return local;
}

absl::StatusOr<LocalData> ReadLocalData(const ClientFile::Data& data,
                                        const v1::TaskPlan& plan,
                                        const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(LocalData local, ReadAndSplit(data, plan, model));
  EDGETUNE_RETURN_IF_ERROR(CheckExamples(plan, local.train->size()));
  return local;
}

}  // namespace edgetune
