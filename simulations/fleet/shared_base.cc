#include "simulations/fleet/shared_base.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "base/status.h"
#include "client/train_plan.h"
#include "simulations/fleet/recorded_trainer.h"
#include "simulations/fleet/worker_pool.h"

namespace edgetune {

class SharedBase::Handle final : public BaseModels {
 public:
  Handle(SharedBase* base, Hooks hooks)
      : base_(base), fetch_(std::move(hooks.fetch)) {
    if (hooks.replace) {
      own_ = hooks.replace([this]() -> Trainer& { return Shared(); });
    }
  }

  absl::Status UseEngine(const std::string& name) override {
    return base_->UseEngine(name);
  }

  absl::StatusOr<uint64_t> FetchBase(const v1::TaskPlan& plan,
                                     Transfer& /*transfer*/) override {
    uint64_t moved = 0;
    for (const v1::FilePart& part : plan.model().parts()) {
      if (!fetched_.insert(part.sha256()).second) continue;
      fetch_(part);
      moved += part.size();
    }
    return moved;
  }

  absl::Status Open(const v1::TaskPlan& plan) override {
    if (plan.model().digest() != base_->options_.digest) {
      return Annotate(absl::FailedPreconditionError(
                          "the plan names another base model than the fleet's"),
                      ErrorKind::kModel);
    }
    return CheckLayout(plan, base_->options_.model->config());
  }

  void DropTrainer() override {}

  absl::Status Load(const v1::TaskPlan& plan,
                    const MemoryChoice& choice) override {
    EDGETUNE_ASSIGN_OR_RETURN(trainers_, base_->Load(plan, choice));
    return absl::OkStatus();
  }

  const ModelFile& model() const override { return *base_->options_.model; }
  Trainer& trainer() override { return own_ ? *own_ : Shared(); }
  Engine& engine() override { return *base_->engine_; }
  int64_t threads() const override { return base_->options_.threads; }
  uint64_t resident() const override { return kClientBytes; }

 private:
  Trainer& Shared() { return *(*trainers_)[WorkerPool::CurrentWorker()]; }

  SharedBase* const base_;
  const std::function<void(const v1::FilePart&)> fetch_;
  std::set<std::string> fetched_;  // digests of parts
  const Trainers* trainers_ = nullptr;
  std::unique_ptr<Trainer> own_;  // null: the shared one
};

std::unique_ptr<BaseModels> SharedBase::MakeHandle(Hooks hooks) {
  return std::make_unique<Handle>(this, std::move(hooks));
}

absl::Status SharedBase::UseEngine(const std::string& name) {
  if (engine_ != nullptr && name == engine_name_) return absl::OkStatus();
  if (engine_ != nullptr) {
    return Annotate(absl::FailedPreconditionError(fmt::format(
                        "this fleet trains with the engine {}, not {}",
                        engine_name_, name)),
                    ErrorKind::kConfig);
  }
  EDGETUNE_ASSIGN_OR_RETURN(engine_, options_.open_engine(name));
  engine_name_ = name;
  return absl::OkStatus();
}

absl::StatusOr<const SharedBase::Trainers*> SharedBase::Load(
    const v1::TaskPlan& plan, const MemoryChoice& choice) {
  Trainers& trainers = trainers_[{choice.weights, choice.recompute}];
  while (trainers.size() < options_.workers) {
    EDGETUNE_ASSIGN_OR_RETURN(
        auto trainer,
        engine_->MakeTrainer(options_.model,
                             EngineOptionsOf(plan, options_.threads, choice)));
    if (options_.journal != nullptr) {
      trainer = MakeRecordedTrainer(
          std::move(trainer),
          fmt::format("simulation {} {} {} {} {}", options_.digest,
                      engine_name_, options_.threads,
                      static_cast<int>(choice.weights), choice.recompute),
          options_.journal);
    }
    trainers.push_back(std::move(trainer));
  }
  return &trainers;
}

}  // namespace edgetune
