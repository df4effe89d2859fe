#include "simulations/runner/simulation.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "absl/time/civil_time.h"
#include "base/process_memory.h"
#include "base/status.h"
#include "base/units.h"
#include "client/own_teacher.h"
#include "client/train_plan.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "simulations/runner/null_engine.h"
#include "training/example_files.h"
#include "training/image_data_set.h"

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

// Of images; example files are looked for before anything is read.
absl::Status CheckData(const RunFile& run) {
  if (run.data.schema != kImageSchema) {
    return ExampleFilesIn({run.simulation.data}).status();
  }
  if (run.simulation.adversary != "backdoor") return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(
                      "simulation.adversary = \"backdoor\" plants a text, and "
                      "these clients hold images"),
                  ErrorKind::kConfig, "take label_flip");
}

absl::Status CheckBaselines(const v1::TaskPlan& plan) {
  if (plan.data().holdout() > 0) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(
                      "baselines are measured on held-out examples, and "
                      "data.holdout = 0 leaves none"),
                  ErrorKind::kConfig, "set data.holdout, such as 0.1");
}

absl::Status CheckCohort(const v1::TaskPlan& plan, size_t clients) {
  const v1::RoundsSpec& rounds = plan.rounds();
  if (UsesControls(plan) && plan.fleet().devices() != clients) {
    return Annotate(absl::InvalidArgumentError(
                        fmt::format("objective scaffold counts on {} devices "
                                    "(fleet.devices), the fleet has {} "
                                    "(simulation.clients)",
                                    plan.fleet().devices(), clients)),
                    ErrorKind::kConfig, "say how many there are");
  }
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
  EDGETUNE_RETURN_IF_ERROR(CheckData(run));
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
  if (options.baselines) {
    EDGETUNE_RETURN_IF_ERROR(CheckBaselines(options.plan));
  }
  std::unique_ptr<Simulation> simulation(new Simulation(std::move(options)));
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeClients());
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeAdversaries());
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeLog());
  EDGETUNE_RETURN_IF_ERROR(simulation->MakeTest());
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
  EDGETUNE_RETURN_IF_ERROR(CheckCohort(options_.plan, clients));
  EDGETUNE_ASSIGN_OR_RETURN(const PopulationSpec population,
                            MakePopulation(run.simulation.devices, clients));
  devices_ = std::make_unique<PopulationDevices>(
      population, clients, static_cast<uint64_t>(run.train.seed));
  return absl::OkStatus();
}

absl::Status Simulation::MakeAdversaries() {
  Adversaries::Options options;
  options.spec = AdversarySpecOf(options_.run);
  for (const ClientExamples& client : data_->partition()) {
    options.clients.push_back(client.name);
  }
  options.data = options_.run.simulation.data;
  options.plan = options_.plan;
  options.model = options_.model;
  EDGETUNE_ASSIGN_OR_RETURN(adversaries_,
                            Adversaries::Make(std::move(options)));
  // What cannot be poisoned is refused here, not declined by a device.
  for (size_t i = 0; i < data_->partition().size(); ++i) {
    if (!adversaries_->Has(i)) continue;
    EDGETUNE_ASSIGN_OR_RETURN(
        LocalData honest,
        data_->Read(data_->partition()[i].name, options_.plan));
    EDGETUNE_RETURN_IF_ERROR(
        adversaries_->Poison(i, std::move(honest)).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<EventLog>> Simulation::OpenLog(
    const RunHeader& header) {
  if (options_.repeats) {
    auto log = EventLog::Repeat(options_.log_path, header);
    if (!absl::IsNotFound(log.status())) return log;
  }
  return EventLog::Create(options_.log_path, header);
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
        {"rule", options_.plan.lora().rule()},
        {"adversary", simulation.adversary},
        {"adversaries", std::to_string(adversaries_->count())}};
    header.settings.insert(options_.settings.begin(), options_.settings.end());
    EDGETUNE_ASSIGN_OR_RETURN(log_, OpenLog(header));
  }
  RunLogger::Options logger;
  logger.log = log_.get();
  logger.start = SimulationStart();
  logger.rounds = options_.plan.rounds().count();
  logger.images = options_.model->config().image.has_value();
  logger.on_progress = options_.on_progress;
  for (const ClientExamples& client : data_->partition()) {
    logger.clients.push_back({client.name, client.main_label});
  }
  logger_ = std::make_unique<RunLogger>(std::move(logger));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Simulation::FitMemory() {
  if (options_.memory == 0) return UINT64_MAX;
  FleetMemoryQuestion question{.plan = options_.plan,
                               .model = *options_.model,
                               .data = *data_,
                               .workers = options_.workers,
                               .resident = ResidentBytes()};
  question.trains = options_.run.simulation.trainer != "null";
  for (const v1::FilePart& part : options_.plan.model().parts()) {
    question.base += part.size();
  }
  if (question.trains) {
    EDGETUNE_ASSIGN_OR_RETURN(
        const std::string name,
        EngineOf(options_.plan, ClientFile::Train().engine));
    EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, options_.engine(name));
    question.bf16 =
        engine->UsesBf16(EngineOptionsOf(options_.plan, 1).precision);
  }
  EDGETUNE_ASSIGN_OR_RETURN(memory_, PredictFleetMemory(question));
  return BlobsWithin(*memory_, options_.memory);
}

// All clients hold the same teacher: it speaks once of all their examples.
absl::Status Simulation::AskFleetsTeacher() {
  const v1::TaskPlan& plan = options_.plan;
  if (!AsksTeachers(plan) || options_.teacher.empty() ||
      null_engine_ != nullptr) {
    return absl::OkStatus();
  }
  EDGETUNE_ASSIGN_OR_RETURN(const std::string name,
                            EngineOf(plan, ClientFile::Train().engine));
  EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, options_.engine(name));
  const int64_t positions = PositionsOf(data_->examples());
  EDGETUNE_ASSIGN_OR_RETURN(
      auto targets, AskTeacher({.plan = plan,
                                .student = *options_.model,
                                .engine = *engine,
                                .teacher = options_.teacher,
                                .progress =
                                    [&](int64_t done) {
                                      if (options_.on_teacher) {
                                        options_.on_teacher(done, positions);
                                      }
                                    }},
                               data_->examples(), *stop_));
  data_->Teach(std::move(targets));
  return absl::OkStatus();
}

absl::Status Simulation::MakeTest() {
  const RunFile::Simulation& simulation = options_.run.simulation;
  if (!options_.model->config().image.has_value()) return absl::OkStatus();
  const std::string path = TestImagesIn(simulation.data);
  if (path.empty() || simulation.test_every == 0) return absl::OkStatus();
  CentralTest::Options test;
  EDGETUNE_ASSIGN_OR_RETURN(test.examples,
                            ReadImageDataSet(path, options_.model->config()));
  test.every = static_cast<uint32_t>(simulation.test_every);
  test.rounds = options_.plan.rounds().count();
  test.logger = logger_.get();
  test.newest = [this]() -> absl::StatusOr<Adapter> {
    EDGETUNE_ASSIGN_OR_RETURN(ParameterVector values, ReadAdapter());
    return MakeAdapter(std::move(values));
  };
  test.measuring = [this] {
    test_models_ = fleet_->MakeModels();
    return MakeMeasuring(test_models_.get(), *stop_, {});
  };
  test_ = std::make_unique<CentralTest>(std::move(test));
  return absl::OkStatus();
}

absl::Status Simulation::MakeFleet() {
  Fleet::Options fleet;
  EDGETUNE_ASSIGN_OR_RETURN(fleet.most_blobs, FitMemory());
  fleet.most_memory = options_.memory;
  fleet.spill_directory = options_.spill_directory;
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
  if (options_.other_engine != nullptr) {
    fleet.engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
      return options_.other_engine;
    };
  }
  for (const ClientExamples& client : data_->partition()) {
    fleet.devices.push_back(client.name);
  }
  fleet.read_data = [this](const ClientFile::Data& data,
                           const v1::TaskPlan& plan,
                           const ModelFile&) -> absl::StatusOr<LocalData> {
    EDGETUNE_ASSIGN_OR_RETURN(LocalData honest, data_->Read(data.name, plan));
    return adversaries_->Poison(data_->NumberOf(data.name), std::move(honest));
  };
  fleet.replace_trainer = [this](size_t device, TrainerOf trainer) {
    return adversaries_->Replace(device, std::move(trainer));
  };
  fleet.model_of_devices = devices_.get();
  fleet.observer = logger_.get();
  if (test_ != nullptr) fleet.observer = test_.get();
  fleet.seed = options_.plan.train().seed();
  fleet.workers = options_.workers;
  fleet.start = SimulationStart();
  if (null_engine_ == nullptr) fleet.journal = options_.journal;
  EDGETUNE_ASSIGN_OR_RETURN(fleet_, Fleet::Make(std::move(fleet)));
  return absl::OkStatus();
}

absl::StatusOr<v1::RunStatus> Simulation::Run(const StopToken& stop) {
  stop_ = &stop;
  EDGETUNE_RETURN_IF_ERROR(AskFleetsTeacher());
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status, fleet_->Run(stop));
  if (test_ != nullptr) EDGETUNE_RETURN_IF_ERROR(test_->status());
  if (status.state() == v1::RunStatus::FINISHED) {
    measured_.status = Measure(stop);
    LogBaselines();
  }
  EDGETUNE_RETURN_IF_ERROR(logger_->Finish(fleet_->now(), status));
  return status;
}

// --- after the run

absl::StatusOr<Adapter> Simulation::MakeAdapter(ParameterVector values) const {
  Adapter adapter;
  adapter.spec = AdapterSpecOf(options_.plan);
  EDGETUNE_ASSIGN_OR_RETURN(adapter.layout, AdapterLayout(options_.plan));
  adapter.values = std::move(values);
  return adapter;
}

absl::StatusOr<std::unique_ptr<Measuring>> Simulation::MakeMeasuring(
    BaseModels* models, const StopToken& stop,
    std::function<void(const MeasuringProgress&)> on_progress) const {
  return Measuring::Make({.plan = &options_.plan,
                          .data = data_.get(),
                          .workers = &fleet_->workers(),
                          .models = models,
                          .stop = &stop,
                          .on_progress = std::move(on_progress)});
}

absl::Status Simulation::Measure(const StopToken& stop) {
  const bool attack =
      adversaries_->backdoor() != nullptr && options_.plan.data().holdout() > 0;
  if (!options_.baselines && !attack) return absl::OkStatus();
  const auto models = fleet_->MakeModels();
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto measuring,
      MakeMeasuring(models.get(), stop, options_.on_measuring));
  EDGETUNE_ASSIGN_OR_RETURN(ParameterVector trained, ReadAdapter());
  EDGETUNE_ASSIGN_OR_RETURN(const Adapter last,
                            MakeAdapter(std::move(trained)));
  EDGETUNE_ASSIGN_OR_RETURN(
      ParameterVector first,
      ParseParameters(ByteSpan(options_.initial_blob), last.values.size()));
  EDGETUNE_ASSIGN_OR_RETURN(const Adapter initial,
                            MakeAdapter(std::move(first)));
  if (attack) {
    EDGETUNE_ASSIGN_OR_RETURN(
        measured_.attack, MeasureAttack({.backdoor = *adversaries_->backdoor(),
                                         .initial = initial,
                                         .trained = last},
                                        *measuring));
  }
  if (!options_.baselines) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(
      measured_.baselines,
      MeasureBaselines({.initial = initial,
                        .federated = last,
                        .clients = options_.baseline_clients},
                       *measuring));
  return absl::OkStatus();
}

void Simulation::LogBaselines() {
  if (!measured_.baselines.has_value()) return;
  const BaselineReport& report = *measured_.baselines;
  for (const Baseline& baseline : report.baselines) {
    std::map<std::string, Baseline> groups;
    for (size_t i = 0; i < report.clients.size(); ++i) {
      groups[data_->partition()[report.clients[i]].main_label]
          .clients.push_back(baseline.clients[i]);
    }
    const absl::Time at = fleet_->now();
    logger_->OnBaseline(at, baseline.name, std::nullopt, TotalOf(baseline));
    for (const auto& [name, group] : groups) {
      logger_->OnBaseline(at, baseline.name, name, TotalOf(group));
    }
  }
}

}  // namespace edgetune
