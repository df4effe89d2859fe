// Expected values: make_fold_vectors.py, float64.

#include "aggregation/update_fold.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::kInf;
using testing::kNaN;

struct Sent {
  ParameterVector update;
  UpdateTerms terms;
};

const std::vector<Sent> kFour = {
    {{0.5f, -0.25f, 1e-4f, 3.0f}, {30, 4, 2.5}},
    {{0.1f, 0.2f, -0.3f, -2.5f}, {7, 1, 0.03}},
    {{-1.0f, 0.05f, 2e-3f, 0.0f}, {1201, 151, 11.0}},
    {{0.25f, -0.75f, 0.125f, 60.0f}, {16384, 2048, 0.7}}};

absl::StatusOr<std::unique_ptr<Aggregator>> MakeMean() {
  return MakeWeightedMean(
      {.coordinates = 4, .bound = 64, .weight_cap = 16384, .max_updates = 64});
}

// Of equal weights, as a plan that says so takes it.
absl::StatusOr<std::unique_ptr<Aggregator>> MakeEqualMean() {
  return MakeWeightedMean(
      {.coordinates = 4, .bound = 64, .weight_cap = 1, .max_updates = 64});
}

std::unique_ptr<UpdateFold> PerStep(const LocalSolver& solver) {
  return MakePerStepFold(*MakeMean(), solver);
}
std::unique_ptr<UpdateFold> Fair(double q, double lr = 0.01) {
  return MakeFairFold(MakeMean, {.q = q, .lr = lr});
}
std::unique_ptr<UpdateFold> Plain() { return MakePlainFold(*MakeMean()); }

Aggregator::Result Fold(std::unique_ptr<UpdateFold> fold,
                        const std::vector<Sent>& sent) {
  for (const Sent& s : sent) {
    const absl::Status status = fold->Add(s.update, s.terms);
    EXPECT_TRUE(status.ok()) << status;
  }
  return *fold->Finish();
}

// The result is float32, and so are the bins' means behind it.
void ExpectNear(const ParameterVector& got, const std::vector<double>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], wanted[i], 2.5e-7 * std::abs(wanted[i])) << i;
  }
}

// The closed forms of the paper's section 4.1 and of its appendix for prox.
TEST(AccumulatedStepsTest, AreThePapersClosedForms) {
  for (const int64_t steps : {1, 2, 3, 10, 1000}) {
    const auto n = static_cast<double>(steps);
    EXPECT_EQ(AccumulatedSteps({}, steps), n);
    for (const double m : {0.1, 0.5, 0.9, 0.99}) {
      const double wanted = (n - m * (1 - std::pow(m, n)) / (1 - m)) / (1 - m);
      EXPECT_NEAR(AccumulatedSteps({.momentum = m}, steps), wanted,
                  1e-9 * wanted);
    }
    for (const double pull : {1e-3, 0.5, 0.99}) {
      const double wanted = (1 - std::pow(1 - pull, n)) / pull;
      EXPECT_NEAR(AccumulatedSteps({.pull = pull}, steps), wanted,
                  1e-9 * wanted);
    }
  }
}

TEST(UpdateFoldTest, PlainIsTheAggregatorToTheBit) {
  const auto mean = *MakeMean();
  for (const Sent& s : kFour) {
    ASSERT_TRUE(mean->Accumulate(s.update, s.terms.weight).ok());
  }
  const Aggregator::Result folded = Fold(Plain(), kFour);
  EXPECT_EQ(folded.mean, mean->Finish()->mean);
  EXPECT_EQ(folded.weight_sum, mean->Finish()->weight_sum);
  EXPECT_EQ(folded.updates, 4);
}

TEST(UpdateFoldTest, PerStepIsFedNova) {
  const Aggregator::Result plain = Fold(PerStep({}), kFour);
  ExpectNear(plain.mean, {-0.163352803192607, -0.660228073327113,
                          -0.117692269093055, 52.6894632230754});
  EXPECT_EQ(plain.weight_sum, 30 + 7 + 1201 + 16384);
  EXPECT_EQ(plain.updates, 4);
  ExpectNear(Fold(PerStep({.momentum = 0.9}), kFour).mean,
             {1.85196384344695, 0.0116989543439393, -2.15989723157959,
              43.9624174902372});
  ExpectNear(Fold(PerStep({.pull = 0.05}), kFour).mean,
             {0.169332873391033, -0.693360777491609, 0.113767854016608,
              55.6924226903217});
}

TEST(UpdateFoldTest, PerStepOfEqualStepsIsTheWeightedMean) {
  std::vector<Sent> equal = kFour;
  for (Sent& s : equal) s.terms.steps = 7;
  const ParameterVector mean = Fold(Plain(), equal).mean;
  for (const LocalSolver& solver :
       {LocalSolver{}, LocalSolver{.momentum = 0.9}}) {
    const ParameterVector folded = Fold(PerStep(solver), equal).mean;
    ExpectNear(folded, {mean.begin(), mean.end()});
  }
}

TEST(UpdateFoldTest, FairIsQFedAvg) {
  ExpectNear(Fold(Fair(0.1), kFour).mean,
             {3.00392658412638e-06, -1.44952389424706e-05, 2.43197150222685e-06,
              0.00116652149318467});
  ExpectNear(Fold(Fair(1), kFour).mean,
             {-1.74698472075192e-06, -1.34923337410977e-06,
              2.47474298968372e-07, 0.000116680448522382});
  std::vector<Sent> equal = kFour;
  for (Sent& s : equal) s.terms.weight = 1;
  ExpectNear(
      Fold(MakeFairFold(MakeEqualMean, {.q = 1, .lr = 0.01}), equal).mean,
      {-2.64603509058614e-05, -1.64202342445987e-06, 2.78508187609433e-07,
       0.00013662796108737});
}

// 0.03^15 is 2^-75 and 11^15 2^51: no one scale holds both.
TEST(UpdateFoldTest, FairHoldsPowersOfAnyMagnitude) {
  ExpectNear(Fold(Fair(5), kFour).mean,
             {-0.012017464669052, 0.000600706108702471, 2.40566023431489e-05,
              1.08114005242539e-05});
  ExpectNear(Fold(Fair(15), kFour).mean,
             {-0.00726189564303291, 0.00036309478755308, 1.45237919759534e-05,
              1.21334286094899e-13});
}

// Alone, however small its loss, an update keeps its digits: the factor is
// 1 / (1 + q ||D||^2 / (lr F)).
TEST(UpdateFoldTest, FairOfOneUpdateIsPreciseAtAnyLoss) {
  for (const double loss : {1e-6, 1e-3, 1.0, 16.0, 1e4}) {
    Sent one = {{0.5f, -0.25f, 0.125f, 1.0f}, {100, 0, loss}};
    const double factor = 1 / (1 + 20 * 1.328125 / (0.01 * loss));
    ExpectNear(Fold(Fair(20), {one}).mean,
               {0.5 * factor, -0.25 * factor, 0.125 * factor, factor});
  }
}

TEST(UpdateFoldTest, FairOfASmallQIsNearlyTheWeightedMean) {
  const ParameterVector mean = Fold(Plain(), kFour).mean;
  const ParameterVector fair = Fold(Fair(1e-12, 10), kFour).mean;
  for (size_t i = 0; i < 4; ++i) {
    // q ||D||^2 / (lr F) is at most 1e-12 * 3600 / 0.3.
    EXPECT_NEAR(fair[i], mean[i], 3e-7 * std::abs(mean[i]));
  }
}

std::vector<Sent> RandomUpdates(uint64_t seed) {
  Random random(seed);
  std::vector<Sent> sent(40);
  for (Sent& s : sent) {
    for (int i = 0; i < 4; ++i) {
      s.update.push_back(static_cast<float>(0.1 * random.Normal()));
    }
    s.terms = {static_cast<double>(1 + random.Below(16384)),
               static_cast<int64_t>(1 + random.Below(500)),
               std::exp(2 * random.Normal())};
  }
  return sent;
}

TEST(UpdateFoldTest, NeitherOrderNorShardsChangeABit) {
  const auto folds = {+[] { return Plain(); },
                      +[] { return PerStep({.momentum = 0.5}); },
                      +[] { return Fair(5); }};
  for (const auto make : folds) {
    for (const uint64_t seed : {1, 2, 3}) {
      std::vector<Sent> sent = RandomUpdates(seed);
      const Aggregator::Result whole = Fold(make(), sent);
      Random(seed).Shuffle(sent);
      EXPECT_EQ(Fold(make(), sent).mean, whole.mean);
      const auto left = make(), right = make();
      for (size_t i = 0; i < sent.size(); ++i) {
        const auto& shard = i % 3 == 0 ? left : right;
        ASSERT_TRUE(shard->Add(sent[i].update, sent[i].terms).ok());
      }
      ASSERT_TRUE(left->Merge(*right).ok());
      EXPECT_EQ(left->Finish()->mean, whole.mean);
      EXPECT_EQ(left->Finish()->weight_sum, whole.weight_sum);
      EXPECT_EQ(left->Finish()->updates, 40);
    }
  }
}

TEST(UpdateFoldTest, FoldsOfOtherKindsOrSettingsDoNotMerge) {
  const auto refused = [](const std::unique_ptr<UpdateFold>& a,
                          const std::unique_ptr<UpdateFold>& b) {
    return absl::IsInvalidArgument(a->Merge(*b));
  };
  EXPECT_TRUE(refused(Plain(), PerStep({})));
  EXPECT_TRUE(refused(PerStep({}), Plain()));
  EXPECT_TRUE(refused(Fair(1), Plain()));
  EXPECT_TRUE(refused(PerStep({}), PerStep({.momentum = 0.5})));
  EXPECT_TRUE(refused(Fair(1), Fair(2)));
  EXPECT_TRUE(refused(Fair(1), Fair(1, 0.02)));
}

TEST(UpdateFoldTest, NothingAddedIsNoResult) {
  for (const auto& fold : {Plain(), PerStep({}), Fair(1)}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
  }
}

// What is refused leaves what was there before, to the bit.
TEST(UpdateFoldTest, RefusedUpdatesChangeNothing) {
  const std::vector<Sent> bad = {{{1, 2, 3}, {1, 1, 1}},
                                 {{1, 2, 3, kInf<float>}, {1, 1, 1}},
                                 {{1, 2, 3, 65}, {1, 1, 1}},
                                 {{1, 2, 3, 4}, {kNaN<double>, 1, 1}},
                                 {{1, 2, 3, 4}, {-1, 1, 1}},
                                 {{1, 2, 3, 4}, {1, 0, 0}},
                                 {{1, 2, 3, 4}, {1, -1, -1}},
                                 {{1, 2, 3, 4}, {0, 1, 1}},
                                 {{1, 2, 3, 4}, {1, -5, kNaN<double>}},
                                 {{1, 2, 3, 4}, {1, 0, 1.0 / 0.0}},
                                 {{1, 2, 3, 4}, {1e300, 1, 1e-9}},
                                 {{1, 2, kInf<float>, 4}, {1, 1, 1e3}}};
  for (const bool fair : {false, true}) {
    const auto make = [fair] { return fair ? Fair(3) : PerStep({}); };
    const ParameterVector wanted = Fold(make(), kFour).mean;
    const auto fold = make();
    for (const Sent& s : bad) {
      EXPECT_TRUE(absl::IsInvalidArgument(fold->Add(s.update, s.terms)))
          << fair << " " << &s - bad.data();
    }
    EXPECT_TRUE(absl::IsFailedPrecondition(fold->Finish().status()));
    for (const Sent& s : kFour) ASSERT_TRUE(fold->Add(s.update, s.terms).ok());
    for (const Sent& s : bad) (void)fold->Add(s.update, s.terms);
    EXPECT_EQ(fold->Finish()->mean, wanted);
  }
}

TEST(UpdateFoldTest, APlanSaysWhichFold) {
  v1::TaskPlan plan;
  plan.mutable_train()->set_lr(0.01);
  plan.mutable_train()->set_momentum(0.9);
  const auto result = [&] {
    return Fold(*MakeUpdateFold(plan, MakeMean), kFour);
  };
  EXPECT_EQ(result().mean, Fold(Plain(), kFour).mean);
  plan.mutable_rounds()->set_normalise("none");
  EXPECT_EQ(result().mean, Fold(Plain(), kFour).mean);
  plan.mutable_rounds()->set_normalise("steps");
  EXPECT_EQ(result().mean, Fold(PerStep({.momentum = 0.9}), kFour).mean);
  plan.mutable_train()->set_momentum(0);
  plan.mutable_train()->set_prox_mu(5);
  EXPECT_EQ(result().mean, Fold(PerStep({.pull = 0.05}), kFour).mean);
  plan.mutable_rounds()->set_normalise("none");
  plan.mutable_rounds()->set_fairness_q(5);
  EXPECT_EQ(result().mean, Fold(Fair(5), kFour).mean);
}

}  // namespace
}  // namespace edgetune
