#include "tests/simulations_fleet/small_fleet.h"

#include <fmt/format.h>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune::testing {
namespace {

std::string KindName(SessionNews::Kind kind) {
  switch (kind) {
    case SessionNews::Kind::kSelected:
      return "selected";
    case SessionNews::Kind::kAccepted:
      return "accepted";
    case SessionNews::Kind::kRefused:
      return "refused";
    case SessionNews::Kind::kLate:
      return "late";
    case SessionNews::Kind::kCancelled:
      return "cancelled";
    case SessionNews::Kind::kDeclined:
      return "declined";
    case SessionNews::Kind::kVanished:
      return "vanished";
  }
  return "?";
}

absl::Time Start() { return absl::FromUnixSeconds(1'900'000'000); }

}  // namespace

void Diary::OnSession(const SessionNews& news) {
  ++counts[news.kind];
  lines.push_back(fmt::format(
      "{} {} device {} round {}.{} down {} up {} training {} loss {}: {}",
      absl::FormatDuration(news.at - Start()), KindName(news.kind), news.device,
      news.round, news.attempt, news.bytes_down, news.bytes_up,
      absl::FormatDuration(news.training),
      news.report == nullptr ? 0.0 : news.report->train_loss(), news.reason));
}

void Diary::OnRun(absl::Time at, const v1::RunStatus& status) {
  lines.push_back(fmt::format(
      "{} rounds {} attempt {} measures {}", absl::FormatDuration(at - Start()),
      status.rounds_done(), status.attempt(), status.measures_size()));
}

SmallFleet::SmallFleet(uint32_t clients)
    : run(MakeTestRun(scratch.path(), clients)) {
  for (uint32_t i = 0; i < clients; ++i) {
    const std::string name = fmt::format("device-{}", i);
    const std::string directory = scratch.File(name);
    EDGETUNE_CHECK(MakeDirectories(directory).ok());
    data[name] = MakeClientFile(directory, name, 8 + 3 * i).data;
    names.push_back(name);
  }
  read_data = [this](const ClientFile::Data& wanted, const v1::TaskPlan& plan,
                     const ModelFile& model) {
    return ReadLocalData(data.at(wanted.name), plan, model);
  };
  v1::DocumentHeader& header = *run.plan.mutable_header();
  header.set_issued_ms(absl::ToUnixMillis(Start()));
  header.set_expires_ms(absl::ToUnixMillis(Start() + absl::Hours(24 * 30)));
}

absl::StatusOr<v1::RunStatus> SmallFleet::Run() {
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto fleet,
      Fleet::Make(
          {.plan = run.plan,
           .plan_payload = run.plan.SerializeAsString(),
           .initial_blob = run.adapter_blob,
           .model = *ModelFile::Open(run.model_path),
           .model_files = {run.model_path},
           .engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
             return other_engine != nullptr ? other_engine : &engine;
           },
           .devices = names,
           .read_data = read_data,
           .replace_trainer = replace_trainer,
           .model_of_devices = &devices,
           .observer = &diary,
           .seed = seed,
           .workers = workers,
           .start = Start(),
           .spill_directory = spill_directory,
           .most_blobs = most_blobs,
           .most_memory = most_memory}));
  const StopToken never{false};
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status,
                            fleet->Run(stop != nullptr ? *stop : never));
  EDGETUNE_ASSIGN_OR_RETURN(adapter_, fleet->ReadAdapter());
  length = fleet->now() - Start();
  return status;
}

}  // namespace edgetune::testing
