#include "simulations/adversary/adversaries.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "client/train_plan.h"
#include "simulations/adversary/answer_exchange.h"

namespace edgetune {
namespace {

using Kind = AdversarySpec::Kind;

Kind KindNamed(const std::string& name) {
  if (name == "label_flip") return Kind::kLabelFlip;
  if (name == "sign_flip") return Kind::kSignFlip;
  if (name == "scale") return Kind::kScale;
  if (name == "backdoor") return Kind::kBackdoor;
  if (name == "free_rider") return Kind::kFreeRider;
  return Kind::kNone;
}

absl::Status CheckSpec(const AdversarySpec& spec, size_t clients) {
  if (spec.kind == Kind::kNone) return absl::OkStatus();
  if (spec.share > 0 && AdversaryCount(spec.share, clients) == 0) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "simulation.adversary_share = {} of {} clients is less than one",
            spec.share, clients)),
        ErrorKind::kConfig, "a larger share, or 0 for none");
  }
  if (spec.kind == Kind::kBackdoor &&
      (spec.trigger.empty() || spec.target.empty())) {
    return Annotate(
        absl::InvalidArgumentError(
            fmt::format("simulation.adversary = \"backdoor\" and {} is empty",
                        spec.trigger.empty() ? "simulation.adversary_trigger"
                                             : "simulation.adversary_target")),
        ErrorKind::kConfig,
        "name the trigger's text and the answer that it is to bring");
  }
  return absl::OkStatus();
}

std::set<size_t> Choose(const AdversarySpec& spec, size_t clients) {
  if (spec.kind == Kind::kNone) return {};
  std::vector<size_t> order(clients);
  std::iota(order.begin(), order.end(), size_t{0});
  Random(spec.seed).Split("adversaries").Shuffle(order);
  order.resize(AdversaryCount(spec.share, clients));
  return {order.begin(), order.end()};
}

}  // namespace

AdversarySpec AdversarySpecOf(const RunFile& run) {
  const RunFile::Simulation& simulation = run.simulation;
  return {.kind = KindNamed(simulation.adversary),
          .share = simulation.adversary_share,
          .scale = simulation.adversary_scale,
          .trigger = simulation.adversary_trigger,
          .target = simulation.adversary_target,
          .seed = static_cast<uint64_t>(run.train.seed)};
}

size_t AdversaryCount(double share, size_t clients) {
  // What a share lacks of a whole client by its binary form alone.
  constexpr double kRounding = 1e-9;
  return static_cast<size_t>(
      std::floor(share * static_cast<double>(clients) + kRounding));
}

absl::StatusOr<std::unique_ptr<Adversaries>> Adversaries::Make(
    Options options) {
  std::unique_ptr<Adversaries> made(new Adversaries(std::move(options)));
  const Options& o = made->options_;
  EDGETUNE_RETURN_IF_ERROR(CheckSpec(o.spec, o.clients.size()));
  made->chosen_ = Choose(o.spec, o.clients.size());
  if (o.spec.kind == Kind::kBackdoor) {
    EDGETUNE_ASSIGN_OR_RETURN(
        made->backdoor_,
        Backdoor::Read(o.data, DataOptionsOf(o.plan), o.model,
                       {.trigger = o.spec.trigger, .target = o.spec.target}));
  }
  return made;
}

absl::StatusOr<LocalData> Adversaries::Poison(size_t client,
                                              LocalData honest) const {
  if (!Has(client)) return honest;
  const Random random =
      Random(options_.spec.seed)
          .Split(fmt::format("poison/{}", options_.clients[client]));
  if (options_.spec.kind == Kind::kLabelFlip) {
    EDGETUNE_ASSIGN_OR_RETURN(
        honest.train,
        ExchangeAnswers(*honest.train, options_.plan.data().max_length(),
                        random));
  }
  if (options_.spec.kind == Kind::kBackdoor) {
    EDGETUNE_ASSIGN_OR_RETURN(honest.train,
                              backdoor_->PoisonHalf(*honest.train, random));
  }
  return honest;
}

std::unique_ptr<Trainer> Adversaries::Replace(size_t client,
                                              TrainerOf trainer) const {
  if (!Has(client)) return nullptr;
  switch (options_.spec.kind) {
    case Kind::kSignFlip:
      return MakeScalingTrainer(-1, std::move(trainer));
    case Kind::kScale:
      return MakeScalingTrainer(options_.spec.scale, std::move(trainer));
    case Kind::kFreeRider:
      return MakeFreeRider(std::move(trainer));
    case Kind::kNone:
    case Kind::kLabelFlip:
    case Kind::kBackdoor:
      return nullptr;
  }
  return nullptr;
}

}  // namespace edgetune
