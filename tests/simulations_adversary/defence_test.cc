// What the rules of combining are worth against simulated adversaries, in whole
// runs: the real coordinator and clients, and the fixture's engine, whose
// training pulls each coordinate to an optimum of the client's own between 0.1
// and 0.11 and whose loss is the mean squared distance from 0.1.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/status.h"
#include "simulations/adversary/adversaries.h"
#include "tests/simulations_fleet/small_fleet.h"

namespace edgetune {
namespace {

using AdversaryKind = AdversarySpec::Kind;
using NewsKind = SessionNews::Kind;
using testing::SmallFleet;

constexpr uint64_t kSeeds[] = {1, 2, 3, 4, 5};

// A fleet some of whose clients are adversaries.
class AttackedFleet {
 public:
  AttackedFleet(uint32_t clients, AdversarySpec spec) : fleet(clients) {
    fleet.seed = spec.seed;
    fleet.run.plan.mutable_train()->set_seed(spec.seed);
    adversaries_ =
        *Adversaries::Make({.spec = std::move(spec),
                            .clients = fleet.names,
                            .data = "",
                            .plan = fleet.run.plan,
                            .model = *ModelFile::Open(fleet.run.model_path)});
    fleet.replace_trainer = [this](size_t device, TrainerOf trainer) {
      return adversaries_->Replace(device, std::move(trainer));
    };
  }

  // Of the last measure, a token: the mean squared distance from 0.1.
  double Loss() {
    const auto status = fleet.Run();
    EXPECT_TRUE(status.ok()) << status.status();
    const v1::Measure& last = status->measures(status->measures_size() - 1);
    return last.nll_sum() / static_cast<double>(last.tokens());
  }

  SmallFleet fleet;

 private:
  std::unique_ptr<Adversaries> adversaries_;
};

ParameterVector AdapterWith(const std::string& rule, AdversarySpec spec) {
  AttackedFleet attacked(10, std::move(spec));
  v1::RoundsSpec& rounds = *attacked.fleet.run.plan.mutable_rounds();
  rounds.set_aggregator(rule);
  rounds.set_weights("equal");
  if (rule == "trimmed_mean") rounds.set_trim(0.2);
  if (rule == "multi_krum") rounds.set_byzantine(2);
  attacked.Loss();
  return attacked.fleet.adapter();
}

double Distance(const ParameterVector& a, const ParameterVector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

// How far from an honest run's adapter an attacked one ends, as a share of the
// way that the honest one went.
class Harm {
 public:
  explicit Harm(uint64_t seed) : honest_(AdapterWith("mean", {.seed = seed})) {
    const SmallFleet fleet(1);
    const auto initial =
        ParseParameters(ByteSpan(fleet.run.adapter_blob), honest_.size());
    way_ = Distance(honest_, *initial);
  }
  double Of(const std::string& rule, AdversarySpec spec) const {
    return Distance(AdapterWith(rule, std::move(spec)), honest_) / way_;
  }

 private:
  const ParameterVector honest_;
  double way_ = 0;
};

// Of 10 clients 2 send their update with the wrong sign, so the mean of 8 d and
// 2 times -d is 0.6 d. A round leaves 0.75^3 = 0.422 of an honest fleet's
// distance to the optimum, and 1 - 0.6 (1 - 0.422) = 0.653 of this one's: after
// three rounds 0.075 and 0.279, which is 0.22 of the honest way. Clients'
// optima, which are a tenth of that way apart, and the trainer's jitter take or
// give a fifth of it. The other rules leave the two out, and the trimmed mean
// and the median some honest ones at the other end.
TEST(DefenceTest, FlippedSignsSlowTheMeanAndNotTheRobustRules) {
  for (const uint64_t seed : kSeeds) {
    const Harm harm(seed);
    const AdversarySpec flip = {
        .kind = AdversaryKind::kSignFlip, .share = 0.2, .seed = seed};
    const auto of = [&](const std::string& rule) {
      const double share = harm.Of(rule, flip);
      RecordProperty(fmt::format("{}_{}", rule, seed), fmt::to_string(share));
      return share;
    };
    EXPECT_NEAR(of("mean"), 0.22, 0.044) << "seed " << seed;
    for (const char* rule : {"trimmed_mean", "median", "multi_krum"}) {
      EXPECT_LT(of(rule), 0.044) << rule << ", seed " << seed;
    }
  }
}

// The mean of 8 d and 2 times 30 d is 6.8 d: 1 - 6.8 (1 - 0.422) = -2.9 times
// the distance is left in each round, -25 times after three.
TEST(DefenceTest, AScaledUpdateDrivesTheMeanAway) {
  for (const uint64_t seed : {1, 2, 3}) {
    const Harm harm(seed);
    const AdversarySpec scale = {
        .kind = AdversaryKind::kScale, .share = 0.2, .scale = 30, .seed = seed};
    EXPECT_GT(harm.Of("mean", scale), 10);
    EXPECT_LT(harm.Of("multi_krum", scale), 0.044);
  }
}

TEST(DefenceTest, BeyondTheClearBoundADeviceIsOutOfTheRound) {
  AttackedFleet attacked(
      5, {.kind = AdversaryKind::kScale, .share = 0.2, .scale = 1e5});
  attacked.fleet.run.plan.mutable_rounds()->set_quorum(4);
  EXPECT_LT(attacked.Loss(), 1e-3);
  EXPECT_EQ(attacked.fleet.diary.counts[NewsKind::kDeclined], 3);
  EXPECT_EQ(attacked.fleet.diary.counts[NewsKind::kAccepted], 12 + 5);
}

TEST(DefenceTest, MaskingHidesAnAdversary) {
  const AdversarySpec flip = {
      .kind = AdversaryKind::kSignFlip, .share = 0.2, .seed = 1};
  AttackedFleet attacked(10, flip), honest(10, {.seed = 1});
  for (AttackedFleet* fleet : {&attacked, &honest}) {
    testing::Mask(fleet->fleet.run.plan);
  }
  EXPECT_GT(attacked.Loss(), 4 * honest.Loss());
  EXPECT_EQ(attacked.fleet.diary.counts[NewsKind::kAccepted],
            honest.fleet.diary.counts[NewsKind::kAccepted]);
}

TEST(DefenceTest, WorkersChangeNothingOfAnAttack) {
  std::vector<ParameterVector> adapters;
  std::vector<std::vector<std::string>> diaries;
  for (const size_t workers : {1, 4}) {
    AttackedFleet attacked(
        6, {.kind = AdversaryKind::kFreeRider, .share = 0.5, .seed = 3});
    attacked.fleet.workers = workers;
    attacked.Loss();
    adapters.push_back(attacked.fleet.adapter());
    diaries.push_back(attacked.fleet.diary.lines);
    EXPECT_EQ(attacked.fleet.engine.trainings, 3 * 3);
  }
  EXPECT_EQ(adapters[0], adapters[1]);
  EXPECT_EQ(diaries[0], diaries[1]);
}

}  // namespace
}  // namespace edgetune
