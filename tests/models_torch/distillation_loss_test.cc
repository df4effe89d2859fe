// Losses of distillation against PyTorch (make_distillation_vectors.py).

#include "models/torch/shrink/distillation_loss.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace edgetune {
namespace {

using nlohmann::json;

const json& Vectors() {
  static const auto& all = *new json(json::parse(
      std::ifstream(std::string(EDGETUNE_SOURCE_DIR) +
                    "/tests/models_torch/vectors/distillation.json")));
  return all;
}

at::Tensor Matrix(const json& values, int64_t rows) {
  return at::tensor(values.get<std::vector<double>>(), at::kDouble)
      .view({rows, -1})
      .to(at::kFloat);
}

// A leaf of its own, so that each use has its own gradient.
at::Tensor Leaf(const at::Tensor& values) {
  return values.clone().set_requires_grad(true);
}

struct Given {
  at::Tensor hidden, head, labels;
  TeacherOutput teacher;

  Given() {
    const json& given = Vectors()["given"];
    const auto n = Vectors()["positions"].get<int64_t>();
    const auto v = Vectors()["vocabulary"].get<int64_t>();
    hidden = Leaf(Matrix(given["hidden"], n));
    head = Leaf(Matrix(given["head"], v));
    labels = at::tensor(given["labels"].get<std::vector<int64_t>>(), at::kLong);
    teacher = {Matrix(given["teacher_hidden"], n),
               Matrix(given["teacher_head"], v)};
  }

  // Loss of the whole teacher (k 0) or of its k likeliest tokens; with its
  // gradients in `hidden` and `head`.
  double Learn(const DistillationWeights& weights, int64_t k, int64_t rows,
               double scale = 1) {
    const at::Tensor loss =
        k == 0 ? SumDistillation(hidden, head, labels, teacher, weights, rows)
               : SumDistillation(
                     hidden, head, labels,
                     TopTargetsOf(teacher, weights.temperature, k, rows),
                     weights, rows);
    (loss * scale).backward();
    return loss.item<double>();
  }
};

DistillationWeights WeightsOf(const json& given) {
  return {given["temperature"], given["alpha"], given["entropy"]};
}

void ExpectNear(const at::Tensor& got, const json& wanted, double tolerance,
                const std::string& what) {
  const auto values = wanted.get<std::vector<double>>();
  ASSERT_TRUE(got.defined()) << what;
  ASSERT_EQ(got.numel(), static_cast<int64_t>(values.size())) << what;
  const at::Tensor flat = got.contiguous();
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(flat.data_ptr<float>()[i], values[i],
                tolerance * std::max(1.0, std::abs(values[i])))
        << what << " at " << i;
  }
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(DistillationLossTest, LossAndGradientsAreThoseOfPyTorch) {
  ASSERT_EQ(Vectors()["cases"].size(), 10);
  for (const json& wanted : Vectors()["cases"]) {
    Given given;
    const std::string what = wanted.dump().substr(0, 70);
    const double loss =
        given.Learn(WeightsOf(wanted), wanted["k"], /*rows=*/64);
    const auto expected = wanted["loss"].get<double>();
    EXPECT_NEAR(loss, expected, 2e-6 * std::abs(expected)) << what;
    ExpectNear(given.hidden.grad(), wanted["hidden_gradient"], 5e-6, what);
    ExpectNear(given.head.grad(), wanted["head_gradient"], 5e-6, what);
  }
}

TEST(DistillationLossTest, RowsAtATimeChangeNothing) {
  for (const json& one : Vectors()["cases"]) {
    Given whole;
    const double loss = whole.Learn(WeightsOf(one), one["k"], 64);
    for (const int64_t rows : {1, 2, 4, 9}) {
      Given parts;
      EXPECT_NEAR(parts.Learn(WeightsOf(one), one["k"], rows), loss,
                  1e-6 * std::abs(loss));
      EXPECT_LT(Distance(parts.hidden.grad(), whole.hidden.grad()), 5e-6);
      EXPECT_LT(Distance(parts.head.grad(), whole.head.grad()), 5e-6);
    }
  }
}

TEST(DistillationLossTest, AllTokensAsTheLikeliestAreTheWholeTeacher) {
  const auto v = Vectors()["vocabulary"].get<int64_t>();
  for (const double temperature : {1.0, 2.5}) {
    const DistillationWeights weights = {temperature, 0.8, 0};
    Given whole, top;
    const double loss = whole.Learn(weights, 0, 64);
    EXPECT_NEAR(top.Learn(weights, v, 64), loss, 1e-5);
    EXPECT_LT(Distance(top.hidden.grad(), whole.hidden.grad()), 1e-5);
    EXPECT_LT(Distance(top.head.grad(), whole.head.grad()), 1e-5);
  }
}

TEST(DistillationLossTest, FewerTokensNeverMakeTheDivergenceLarger) {
  const DistillationWeights weights = {2, 1, 0};
  double before = 0;
  for (const int64_t k : {1, 2, 5, 10, 20, 30}) {
    const double loss = Given().Learn(weights, k, 64);
    EXPECT_GE(loss, before - 1e-5) << k;
    before = loss;
  }
  EXPECT_LE(before, Given().Learn(weights, 0, 64) + 1e-5);
}

// Of a student that is its teacher, the divergence and its gradient are none,
// whatever k.
TEST(DistillationLossTest, AStudentThatIsItsTeacherLearnsNothing) {
  for (const int64_t k : {0, 3, 31}) {
    Given given;
    given.hidden = Leaf(given.teacher.hidden);
    given.head = Leaf(given.teacher.head);
    EXPECT_NEAR(given.Learn({2, 1, 0}, k, 4), 0, 1e-4) << k;
    EXPECT_LT(given.hidden.grad().abs().max().item<double>(), 1e-5) << k;
    EXPECT_LT(given.head.grad().abs().max().item<double>(), 1e-5) << k;
  }
}

TEST(DistillationLossTest, TheGradientIsScaledByWhatComesAfter) {
  Given one, tenth;
  one.Learn({2, 0.5, 0}, 4, 64);
  tenth.Learn({2, 0.5, 0}, 4, 64, 0.1);
  EXPECT_LT(Distance(tenth.hidden.grad(), one.hidden.grad() * 0.1), 1e-6);
  EXPECT_LT(Distance(tenth.head.grad(), one.head.grad() * 0.1), 1e-6);
}

// A frozen head gets no gradient, and none is computed in its size.
TEST(DistillationLossTest, AHeadThatIsNotTrainedGetsNoGradient) {
  Given given;
  given.head = given.head.detach();
  given.Learn({2, 0.5, 0}, 0, 64);
  EXPECT_FALSE(given.head.grad().defined());
  EXPECT_TRUE(given.hidden.grad().defined());
}

TEST(DistillationLossTest, TargetsWithoutAnyRestHaveNone) {
  const TopTargets all = TopTargetsOf(Given().teacher, 1, 31);
  EXPECT_TRUE(at::isinf(all.rest).all().item<bool>());
  const TopTargets some = TopTargetsOf(Given().teacher, 1, 30);
  EXPECT_TRUE(at::isfinite(some.rest).all().item<bool>());
  EXPECT_TRUE((some.ids.narrow(1, 1, 29) > some.ids.narrow(1, 0, 29))
                  .all()
                  .item<bool>());
  const at::Tensor sums = some.values.exp().sum(1) + some.rest.exp();
  EXPECT_LT(Distance(sums, at::ones_like(sums)), 1e-6);
}

// As a cache has it that rounded a small probability to nothing.
TEST(DistillationLossTest, ARestOfNothingBesideTokensLeftOutStaysFinite) {
  Given given;
  TopTargets top = TopTargetsOf(given.teacher, 2, 4);
  top.rest.fill_(-std::numeric_limits<float>::infinity());
  const at::Tensor loss = SumDistillation(given.hidden, given.head,
                                          given.labels, top, {2, 1, 0}, 64);
  loss.backward();
  EXPECT_TRUE(std::isfinite(loss.item<double>()));
  EXPECT_TRUE(at::isfinite(given.hidden.grad()).all().item<bool>());
  EXPECT_TRUE(at::isfinite(given.head.grad()).all().item<bool>());
}

TEST(DistillationLossTest, HiddenStatesMatchAsPyTorchSays) {
  Given given;
  const json& wanted = Vectors()["hidden_match"];
  const at::Tensor projection = Leaf(Matrix(wanted["projection"], 5));
  const at::Tensor loss =
      SumHiddenMatch(given.hidden, given.teacher.hidden, projection);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), wanted["loss"].get<double>(), 1e-5);
  ExpectNear(given.hidden.grad(), wanted["hidden_gradient"], 5e-6, "hidden");
  ExpectNear(projection.grad(), wanted["projection_gradient"], 5e-6,
             "projection");
}

TEST(DistillationLossTest, WithoutAProjectionStatesAreComparedAsTheyAre) {
  Given given;
  const at::Tensor other = given.hidden.detach() + 0.5;
  const at::Tensor loss = SumHiddenMatch(given.hidden, other, at::Tensor());
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), 9 * 0.25, 1e-6);
  // 2 (h - h') / D.
  EXPECT_NEAR(given.hidden.grad().min().item<double>(), -1.0 / 6, 1e-6);
  EXPECT_NEAR(given.hidden.grad().max().item<double>(), -1.0 / 6, 1e-6);
}

}  // namespace
}  // namespace edgetune
