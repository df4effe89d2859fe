#include "aggregation/server_optimizer.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using testing::kNaN;

using Kind = ServerOptimizerOptions::Kind;

ServerOptimizerOptions Adam(double lr = 0.1) {
  return {.kind = Kind::kAdam, .lr = lr};
}

// One of each kind with a rate.
std::vector<ServerOptimizerOptions> EveryKind(double lr) {
  std::vector<ServerOptimizerOptions> all;
  for (const Kind kind : {Kind::kSgd, Kind::kMomentum, Kind::kAdam, Kind::kYogi,
                          Kind::kAdagrad}) {
    all.push_back({.kind = kind, .lr = lr});
  }
  return all;
}

using Ranges = std::vector<CoordinateRange>;

// An update of all coordinates.
Ranges Whole(size_t count) { return {{0, 0, count}}; }

const ParameterVector kThreeUpdates[] = {
    {0.5f, -0.02f, 0.0f}, {-0.25f, 0.03f, 1e-3f}, {0.125f, 0.01f, -2e-3f}};

TEST(SgdTest, AddsTheUpdateTimesTheRate) {
  auto sgd = MakeServerOptimizer({.lr = 0.5}, 3, "").value();
  ParameterVector adapter = {1, 2, 3};
  ASSERT_TRUE(sgd->Step(ParameterVector{2, -4, 0}, Whole(3), adapter).ok());
  EXPECT_EQ(adapter, (ParameterVector{2, 0, 3}));
  EXPECT_EQ(sgd->SaveState(), "");
}

// The adapter {1, -1, 0.5} after each of kThreeUpdates, from numpy in float64:
// the recurrence of Reddi et al. 2021, Algorithm 2 (FedAdam), with v = tau^2 at
// the start. Moments here are float32, hence 1e-6.
constexpr double kThreeSteps[3][3] = {
    {1.0980201901209485, -1.0618461542887878, 0.5},
    {1.1333019936980477, -1.0364957073897243, 0.505012436874798},
    {1.1860703181154089, -0.9935840498172925, 0.4995399332383422}};

TEST(FedAdamTest, FollowsThePaperForThreeSteps) {
  auto adam = MakeServerOptimizer(Adam(), 3, "").value();
  ParameterVector adapter = {1.0f, -1.0f, 0.5f};
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE(adam->Step(kThreeUpdates[step], Whole(3), adapter).ok());
    for (int i = 0; i < 3; ++i) {
      EXPECT_NEAR(adapter[i], kThreeSteps[step][i], 1e-6) << step << " " << i;
    }
  }
}

// With a constant update D both moments tend to D and D^2, so the step tends
// to lr D / (|D| + tau).
TEST(FedAdamTest, TendsToTheClosedFormUnderAConstantUpdate) {
  auto adam = MakeServerOptimizer(Adam(0.01), 1, "").value();
  ParameterVector adapter = {0};
  float before = 0;
  for (int step = 0; step < 3000; ++step) {
    before = adapter[0];
    ASSERT_TRUE(adam->Step(ParameterVector{0.25f}, Whole(1), adapter).ok());
  }
  // Adapter is near 30, where float32 has steps of 2e-6.
  EXPECT_NEAR(adapter[0] - before, 0.01 * 0.25 / 0.251, 4e-6);
}

TEST(ServerOptimizerTest, ContinuesBitForBitFromASavedState) {
  for (const auto& options : EveryKind(0.1)) {
    auto whole = MakeServerOptimizer(options, 3, "").value();
    ParameterVector expected = {1, -1, 0.5f};
    for (const auto& update : kThreeUpdates) {
      ASSERT_TRUE(whole->Step(update, Whole(3), expected).ok());
    }
    std::string state;
    ParameterVector adapter = {1, -1, 0.5f};
    for (const auto& update : kThreeUpdates) {
      auto resumed = MakeServerOptimizer(options, 3, state).value();
      ASSERT_TRUE(resumed->Step(update, Whole(3), adapter).ok());
      state = resumed->SaveState();
    }
    EXPECT_EQ(adapter, expected);
    EXPECT_EQ(state, whole->SaveState());
  }
}

// With a constant update D the moment tends to D / (1 - beta1).
TEST(MomentumTest, TendsToTheClosedFormUnderAConstantUpdate) {
  auto momentum =
      MakeServerOptimizer({.kind = Kind::kMomentum, .lr = 0.01}, 1, "").value();
  ParameterVector adapter = {0};
  float before = 0;
  for (int step = 0; step < 300; ++step) {
    before = adapter[0];
    ASSERT_TRUE(momentum->Step(ParameterVector{0.25f}, Whole(1), adapter).ok());
  }
  // The adapter is near 7, where float32 has steps of 5e-7.
  EXPECT_NEAR(adapter[0] - before, 0.01 * 0.25 / (1 - 0.9), 2e-6);
}

TEST(ServerOptimizerTest, RefusesRangesThatCannotBe) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (const auto& options : EveryKind(1)) {
    auto optimizer = MakeServerOptimizer(options, 4, "").value();
    const std::string state = optimizer->SaveState();
    ParameterVector adapter = {1, 2, 3, 4};
    for (const Ranges& bad :
         {Ranges{}, Ranges{{0, 0, 1}}, Ranges{{3, 0, 2}}, Ranges{{5, 0, 2}},
          Ranges{{kMost, 0, 2}}, Ranges{{0, 1, 2}}, Ranges{{0, 0, kMost}},
          Ranges{{0, 0, 1}, {2, 0, 1}}, Ranges{{0, 0, 1}, {2, 2, 1}},
          Ranges{{2, 0, 1}, {0, 1, 1}}, Ranges{{1, 0, 1}, {1, 1, 1}}}) {
      EXPECT_TRUE(absl::IsInvalidArgument(
          optimizer->Step(ParameterVector{1, 1}, bad, adapter)));
    }
    EXPECT_EQ(adapter, (ParameterVector{1, 2, 3, 4}));
    EXPECT_EQ(optimizer->SaveState(), state);
  }
}

TEST(SgdTest, MovesOnlyTheCoordinatesOfTheUpdate) {
  auto sgd = MakeServerOptimizer({.lr = 0.5}, 5, "").value();
  ParameterVector adapter = {1, 2, 3, 4, 5};
  const Ranges ranges = {{1, 0, 1}, {3, 1, 2}};
  ASSERT_TRUE(sgd->Step(ParameterVector{2, -4, 6}, ranges, adapter).ok());
  EXPECT_EQ(adapter, (ParameterVector{1, 3, 3, 2, 8}));
}

// Two factors in turn: each must go as if its own rounds were all there are,
// hence FollowsThePaperForThreeSteps's values twice, from one optimiser whose
// state is stored between any two rounds.
TEST(FedAdamTest, MomentsOfTheOtherCoordinatesRest) {
  const Ranges turns[2] = {{{0, 0, 2}, {4, 2, 1}}, {{2, 0, 2}, {5, 2, 1}}};
  ParameterVector adapter = {1.0f, -1.0f, 1.0f, -1.0f, 0.5f, 0.5f};
  std::string state;
  for (int round = 0; round < 6; ++round) {
    auto adam = MakeServerOptimizer(Adam(), 6, state).value();
    ASSERT_TRUE(
        adam->Step(kThreeUpdates[round / 2], turns[round % 2], adapter).ok());
    state = adam->SaveState();
    const ParameterVector part = Gather(adapter, turns[round % 2]);
    for (int i = 0; i < 3; ++i) {
      EXPECT_NEAR(part[i], kThreeSteps[round / 2][i], 1e-6);
    }
  }
}

TEST(ServerOptimizerTest, RefusesOtherSizesAndChangesNothing) {
  for (const auto& options : EveryKind(1)) {
    auto optimizer = MakeServerOptimizer(options, 3, "").value();
    const std::string state = optimizer->SaveState();
    ParameterVector adapter = {1, 2, 3};
    ParameterVector shorter = {1, 2};
    EXPECT_TRUE(
        absl::IsInvalidArgument(optimizer->Step(shorter, Whole(3), adapter)));
    EXPECT_TRUE(
        absl::IsInvalidArgument(optimizer->Step(adapter, Whole(3), shorter)));
    EXPECT_TRUE(
        absl::IsInvalidArgument(optimizer->Step(adapter, Whole(2), adapter)));
    EXPECT_EQ(adapter, (ParameterVector{1, 2, 3}));
    EXPECT_EQ(optimizer->SaveState(), state);
  }
}

TEST(ServerOptimizerTest, RefusesStepsThatAreNotFiniteAndChangesNothing) {
  for (const auto& options : EveryKind(10)) {
    auto optimizer = MakeServerOptimizer(options, 1, "").value();
    const std::string state = optimizer->SaveState();
    for (float bad : {kNaN<float>, std::numeric_limits<float>::max()}) {
      ParameterVector adapter = {1};
      EXPECT_EQ(optimizer->Step(ParameterVector{bad}, Whole(1), adapter).code(),
                absl::StatusCode::kDataLoss);
      EXPECT_EQ(adapter[0], 1);
      EXPECT_EQ(optimizer->SaveState(), state);
    }
  }
}

TEST(ServerOptimizerTest, RefusesStatesOfAnotherKindOrSize) {
  for (const auto& options : EveryKind(1)) {
    const std::string state =
        MakeServerOptimizer(options, 3, "").value()->SaveState();
    for (const auto& other : EveryKind(1)) {
      EXPECT_EQ(MakeServerOptimizer(other, 3, state).ok(),
                other.kind == options.kind || state.empty());
    }
    EXPECT_FALSE(MakeServerOptimizer(options, 3, state + "x").ok());
    EXPECT_FALSE(MakeServerOptimizer(options, 3, "x" + state).ok());
    if (state.empty()) continue;  // sgd
    EXPECT_FALSE(MakeServerOptimizer(options, 4, state).ok());
    for (size_t length = 1; length < state.size(); ++length) {
      EXPECT_FALSE(
          MakeServerOptimizer(options, 3, state.substr(0, length)).ok());
    }
  }
}

TEST(ServerOptimizerTest, NamesAreReadAsTheyAreWritten) {
  for (const auto& options : EveryKind(1)) {
    EXPECT_EQ(ParseServerOptimizer(ServerOptimizerName(options.kind)).value(),
              options.kind);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseServerOptimizer("lion").status()));
}

TEST(ServerOptimizerTest, RefusesStoredMomentsThatCannotBe) {
  const std::string state =
      MakeServerOptimizer(Adam(), 1, "").value()->SaveState();
  const std::string head = state.substr(0, state.size() - 8);
  auto with = [&](float m, float v) {
    return head + SerializeParameters(ParameterVector{m, v});
  };
  EXPECT_TRUE(MakeServerOptimizer(Adam(), 1, with(0, 1)).ok());
  for (const auto& bad :
       {with(kNaN<float>, 1), with(0, kNaN<float>), with(0, -1)}) {
    EXPECT_EQ(MakeServerOptimizer(Adam(), 1, bad).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(ServerOptimizerTest, RefusesOptionsOutOfRange) {
  EXPECT_FALSE(MakeServerOptimizer({.lr = 0}, 3, "").ok());
  EXPECT_FALSE(MakeServerOptimizer({.lr = kNaN<float>}, 3, "").ok());
  EXPECT_FALSE(MakeServerOptimizer({}, 0, "").ok());
  // Whether momentum, adam, yogi, adagrad use what is out of range.
  const std::vector<std::pair<void (*)(ServerOptimizerOptions&), std::string>>
      changes = {{[](auto& o) { o.beta1 = 1; }, "yyyy"},
                 {[](auto& o) { o.beta2 = -0.1; }, "nyyn"},
                 {[](auto& o) { o.epsilon = 0; }, "nyyy"}};
  for (const auto& [change, refused] : changes) {
    std::string got;
    for (ServerOptimizerOptions options : EveryKind(1)) {
      change(options);
      if (options.kind == Kind::kSgd) continue;
      got += MakeServerOptimizer(options, 3, "").ok() ? "n" : "y";
    }
    EXPECT_EQ(got, refused);
  }
}

}  // namespace
}  // namespace edgetune
