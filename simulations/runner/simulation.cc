#include "simulations/runner/simulation.h"

#include <fmt/format.h>

#include <utility>

#include "absl/time/civil_time.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"
#include "simulations/runner/null_engine.h"
#include "training/example_files.h"

namespace edgetune {
namespace {

PartitionSpec PartitionOf(const RunFile& run) {
  using Kind = PartitionSpec::Kind;
  const RunFile::Simulation& simulation = run.simulation;
  PartitionSpec spec;
  spec.kind = simulation.partition == "dirichlet" ? Kind::kDirichlet
              : simulation.partition == "shards"  ? Kind::kShards
              : simulation.partition == "natural" ? Kind::kNatural
                                                  : Kind::kIid;
  if (spec.kind != Kind::kIid) spec.field = simulation.field;
  spec.alpha = simulation.alpha;
  spec.shards_a_client = static_cast<int>(simulation.shards);
  spec.quantity_sigma = simulation.quantity_sigma;
  spec.seed = static_cast<uint64_t>(run.train.seed);
  return spec;
}

absl::Status CheckCohort(const v1::RoundsSpec& rounds, size_t clients) {
  if (rounds.cohort() <= clients) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "a round wants {} clients (rounds.cohort), the fleet has "
                      "{} (simulation.clients)",
                      rounds.cohort(), clients)),
                  ErrorKind::kConfig, "more clients, or a smaller cohort");
}

}  // namespace

absl::Time SimulationStart() {
  return absl::FromCivil(absl::CivilHour(2030, 1, 7, 0), absl::UTCTimeZone());
}

absl::Status Simulation::Check(const RunFile& run) {
  const RunFile::Simulation& simulation = run.simulation;
  if (simulation.data.empty()) {
    return Annotate(
        absl::InvalidArgumentError("the simulated clients have no data"),
        ErrorKind::kConfig,
        "name a file or directory of examples: --data, or simulation.data");
  }
  EDGETUNE_RETURN_IF_ERROR(ExampleFilesIn({simulation.data}).status());
  if (run.train.memory_budget != 0) {
    return Annotate(
        absl::InvalidArgumentError(
            "train.memory_budget holds for a device's whole process, and a "
            "simulation has all devices in one"),
        ErrorKind::kConfig, "leave it out, or set it to \"0\" with --set");
  }
  return MakePopulation(simulation.devices, 1).status();
}

absl::StatusOr<std::unique_ptr<Simulation>> Simulation::Make(Options options) {
  EDGETUNE_RETURN_IF_ERROR(Check(options.run));
  std::unique_ptr<Simulation> simulation(new Simulation(std::move(options)));
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeClients());
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeLog());
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeFleet());
  return simulation;
}

absl::Status Simulation::MakeClients() {
  const RunFile& run = options_.run;
  auto clients = static_cast<size_t>(run.simulation.clients);
  if (clients == 0 && run.simulation.partition != "natural") {
    clients = CohortAsked(options_.plan.rounds());
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      data_, FleetData::Make(run.simulation.data, PartitionOf(run), clients,
                             options_.plan, options_.model));
  clients = data_->partition().size();
  EDGETUNE_RETURN_IF_ERROR(CheckCohort(options_.plan.rounds(), clients));
  EDGETUNE_ASSIGN_OR_RETURN(const PopulationSpec population,
                            MakePopulation(run.simulation.devices, clients));
  devices_ = std::make_unique<PopulationDevices>(
      population, clients, static_cast<uint64_t>(run.train.seed));
  return absl::OkStatus();
}

absl::Status Simulation::MakeLog() {
  const RunFile::Simulation& simulation = options_.run.simulation;
  if (!options_.log_path.empty()) {
    RunHeader header{.run = ToHex(options_.run_id),
                     .name = options_.plan.name(),
                     .seed = options_.plan.train().seed(),
                     .clients = static_cast<int64_t>(data_->partition().size()),
                     .rounds = options_.plan.rounds().count(),
                     .cohort = options_.plan.rounds().cohort(),
                     .masked = options_.plan.secagg().enabled()};
    header.settings = {
        {"partition", simulation.partition},
        {"devices", simulation.devices},
        {"trainer", simulation.trainer},
        {"aggregator", options_.plan.rounds().aggregator()},
        {"server_optimizer", options_.plan.rounds().server_optimizer()},
        {"rule", options_.plan.lora().rule()}};
    header.settings.insert(options_.settings.begin(), options_.settings.end());
    EDGETUNE_ASSIGN_OR_RETURN(log_,
                              EventLog::Create(options_.log_path, header));
  }
  RunLogger::Options logger;
  logger.log = log_.get();
  logger.start = SimulationStart();
  logger.rounds = options_.plan.rounds().count();
  logger.on_progress = options_.on_progress;
  for (const ClientExamples& client : data_->partition()) {
    logger.clients.push_back({client.name, client.main_label});
  }
  logger_ = std::make_unique<RunLogger>(std::move(logger));
  return absl::OkStatus();
}

absl::Status Simulation::MakeFleet() {
  Fleet::Options fleet;
  fleet.plan = options_.plan;
  fleet.plan_payload = options_.plan_payload;
  fleet.initial_blob = options_.initial_blob;
  fleet.model = options_.model;
  fleet.model_files = options_.model_files;
  fleet.engine = options_.engine;
  if (options_.run.simulation.trainer == "null") {
    null_engine_ = std::make_unique<NullEngine>();
    fleet.engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
      return null_engine_.get();
    };
  }
  for (const ClientExamples& client : data_->partition()) {
    fleet.devices.push_back(client.name);
  }
  fleet.read_data = [this](const ClientFile::Data& data,
                           const v1::TaskPlan& plan, const ModelFile&) {
    return data_->Read(data.name, plan);
  };
  fleet.model_of_devices = devices_.get();
  fleet.observer = logger_.get();
  fleet.seed = options_.plan.train().seed();
  fleet.workers = options_.workers;
  fleet.start = SimulationStart();
  EDGETUNE_ASSIGN_OR_RETURN(fleet_, Fleet::Make(std::move(fleet)));
  return absl::OkStatus();
}

absl::StatusOr<v1::RunStatus> Simulation::Run(const StopToken& stop) {
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status, fleet_->Run(stop));
  EDGETUNE_RETURN_IF_ERROR(logger_->Finish(fleet_->now(), status));
  return status;
}

}  // namespace edgetune
