#include "tools/local/fitted_training.h"

#include <utility>

#include "base/status.h"
#include "client/train_plan.h"

namespace edgetune {

absl::StatusOr<FittedTraining> FitTraining(const PreparedRun& run,
                                           const ClientFile::Data& files,
                                           int64_t threads) {
  const v1::TaskPlan& plan = run.built.plan;
  const std::string& engine = plan.train().engine();
  FittedTraining fitted;
  EDGETUNE_RETURN_IF_ERROR(CheckDataFiles(files));
  auto data = ReadLocalData(files, plan, *run.model);
  if (!data.ok()) return Annotate(data.status(), ErrorKind::kData);
  fitted.data = *std::move(data);
  EDGETUNE_ASSIGN_OR_RETURN(fitted.engine, LoadEngine(engine));
  const EngineOptions options = EngineOptionsOf(plan, threads);
  EDGETUNE_ASSIGN_OR_RETURN(
      fitted.memory,
      FitToMemory({.plan = plan,
                   .model = *run.model,
                   .data = fitted.data,
                   .data_name = DataName(files),
                   .engine = engine,
                   .bf16 = fitted.engine->UsesBf16(options.precision),
                   .threads = threads},
                  plan.train().memory_budget()));
  if (fitted.memory.choice.max_length == 0) return fitted;
  EDGETUNE_ASSIGN_OR_RETURN(
      fitted.data,
      ReadLocalData(files, WithLength(plan, fitted.memory.choice), *run.model));
  return fitted;
}

TrainConfig FittedConfig(const PreparedRun& run, const FittedTraining& fitted,
                         uint32_t round, const ClientFile::Data& files) {
  TrainConfig config = TrainConfigOf(
      run.built.plan, round, {DataName(files), fitted.data.train->size()});
  config.micro_batch = fitted.memory.choice.micro_batch;
  return config;
}

absl::StatusOr<std::unique_ptr<Trainer>> MakeFittedTrainer(
    const PreparedRun& run, const FittedTraining& fitted, int64_t threads) {
  return fitted.engine->MakeTrainer(
      run.model,
      EngineOptionsOf(run.built.plan, threads, fitted.memory.choice));
}

}  // namespace edgetune
