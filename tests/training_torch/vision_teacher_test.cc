// Models of images as teachers and as students: targets and losses against
// their definition, in double, from logits that are PyTorch's
// (vision_trainer_test.cc).

#include "training/torch/vision_teacher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/training_torch/vision_bench.h"
#include "training/distillation/targets.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr ImageShape kShape = {1, 8, 8};
constexpr size_t kClasses = 10;

// Logarithms of the probabilities of one image's logits at a temperature.
std::vector<double> LogSoftmax(std::span<const float> logits, double t) {
  double sum = 0;
  for (const float z : logits) sum += std::exp(z / t);
  std::vector<double> out;
  for (const float z : logits) out.push_back(z / t - std::log(sum));
  return out;
}

class VisionTeacherTest : public ::testing::Test {
 protected:
  // Weights of size one, so that its answers differ.
  static Bench MakeModel(const std::string& architecture, uint64_t seed,
                         float size) {
    const ModelConfig config = ConfigOf(architecture, kShape);
    ParameterVector weights = InitialWeights(*NetworkOf(config), seed);
    for (float& weight : weights) weight *= size;
    return Bench(config, weights);
  }

  VisionTeacherTest()
      : teacher_model_(MakeModel("mcmahan_cnn", 3, 2)),
        student_(MakeModel("mcmahan_2nn", 1, 1)),
        images_(6, kShape, kClasses, [](size_t i) {
          return static_cast<uint8_t>(i * 2654435761u >> 24);
        }) {
    auto made = MakeVisionTeacher(teacher_model_.model,
                                  student_.model->config(), {.threads = 1});
    EXPECT_TRUE(made.ok()) << made.status();
    teacher_ = *std::move(made);
  }

  HeldTargets TargetsOf(int64_t k, double temperature) {
    HeldTargets targets(temperature, k);
    const absl::Status status =
        teacher_->ComputeTargets(images_, temperature, k,
                                 [&](const TopTokens& row) {
                                   targets.Append(row);
                                   return absl::OkStatus();
                                 },
                                 stop_, {});
    EXPECT_TRUE(status.ok()) << status;
    return targets;
  }

  std::vector<float> LogitsOf(const Bench& bench, const Adapter& adapter) {
    return *bench.trainer->ComputeLogits(adapter, images_.All());
  }

  // alpha T^2 KL(teacher || student), both at T, and (1 - alpha) times the
  // labels' loss.
  double LossOf(const Adapter& adapter, double alpha, double t) {
    const auto said = LogitsOf(teacher_model_, teacher_model_.adapter);
    const auto own = LogitsOf(student_, adapter);
    double sum = 0;
    for (int64_t i = 0; i < images_.size(); ++i) {
      const auto cut = [&](const std::vector<float>& all) {
        return std::span(all).subspan(static_cast<size_t>(i) * kClasses,
                                      kClasses);
      };
      const auto p = LogSoftmax(cut(said), t), q = LogSoftmax(cut(own), t);
      for (size_t c = 0; c < kClasses; ++c) {
        sum += alpha * t * t * std::exp(p[c]) * (p[c] - q[c]);
      }
      const auto label = static_cast<size_t>(images_.Get(i).tokens[0]);
      sum -= (1 - alpha) * LogSoftmax(cut(own), 1)[label];
    }
    return sum;
  }

  // Of LossOf at 2.5, from the student on.
  double SlopeAlong(const ParameterVector& direction, float step,
                    double alpha) {
    Adapter up = student_.adapter, down = student_.adapter;
    for (size_t at = 0; at < direction.size(); ++at) {
      up.values[at] += step * direction[at];
      down.values[at] -= step * direction[at];
    }
    return (LossOf(up, alpha, 2.5) - LossOf(down, alpha, 2.5)) / (2 * step);
  }

  Bench teacher_model_, student_;
  Images images_;
  std::unique_ptr<Teacher> teacher_;
  StopToken stop_{false};
};

TEST_F(VisionTeacherTest, TargetsAreItsLikeliestClassesAndTheRest) {
  const auto logits = LogitsOf(teacher_model_, teacher_model_.adapter);
  for (const int64_t k : {1, 3, 10}) {
    const HeldTargets targets = TargetsOf(k, 2.5);
    ASSERT_EQ(targets.positions(), images_.size());
    for (int64_t i = 0; i < images_.size(); ++i) {
      const auto p =
          LogSoftmax(std::span(logits).subspan(
                         static_cast<size_t>(i) * kClasses, kClasses),
                     2.5);
      TopTokens row;
      targets.Read(i, row);
      ASSERT_EQ(row.ids.size(), static_cast<size_t>(k));
      EXPECT_TRUE(std::ranges::is_sorted(row.ids));
      double rest = 1, least = 0;
      for (size_t j = 0; j < row.ids.size(); ++j) {
        const double wanted = p[static_cast<size_t>(row.ids[j])];
        EXPECT_NEAR(row.log_probabilities[j], wanted, 1e-5);
        rest -= std::exp(wanted);
        least = std::min(least, wanted);
      }
      EXPECT_EQ(std::ranges::count_if(
                    p, [&](double value) { return value >= least; }),
                k);
      EXPECT_NEAR(std::exp(row.log_rest), std::max(rest, 0.0), 1e-5);
    }
  }
}

TEST_F(VisionTeacherTest, ItsScoreIsThatOfItsOwnModel) {
  const auto own = teacher_model_.trainer->Evaluate(teacher_model_.adapter,
                                                    images_, 0, stop_);
  const auto said = teacher_->Evaluate(images_, 0, stop_);
  ASSERT_TRUE(own.ok() && said.ok()) << said.status();
  EXPECT_EQ(said->nll_sum, own->nll_sum);
  EXPECT_EQ(said->correct, own->correct);
}

TEST_F(VisionTeacherTest, LossAndSlopesAreThoseOfTheDefinition) {
  const HeldTargets targets = TargetsOf(kClasses, 2.5);
  images_.taught = &targets;
  for (const double alpha : {0.0, 0.4, 1.0}) {
    const auto got =
        student_.trainer->ComputeGradient(student_.adapter, images_, 4, alpha);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_NEAR(got->nll_sum, LossOf(student_.adapter, alpha, 2.5), 1e-4);
    // Along the gradient, and along signs that know nothing of it: what is
    // missing of it or too much shows in one of the two.
    double squares = 0;
    for (const float g : got->gradient) squares += g * g;
    const double norm = 6 * std::sqrt(squares);  // of the sum over six images
    ParameterVector along, signs;
    for (size_t at = 0; at < got->gradient.size(); ++at) {
      along.push_back(static_cast<float>(6 / norm * got->gradient[at]));
      signs.push_back((at * 2654435761u >> 16) % 2 == 0 ? 1.0f : -1.0f);
    }
    double wanted = 0;
    for (size_t at = 0; at < signs.size(); ++at) {
      wanted += 6.0 * got->gradient[at] * signs[at];
    }
    EXPECT_GT(norm, 1);
    EXPECT_NEAR(SlopeAlong(along, 1e-2f, alpha), norm, 0.01 * norm);
    EXPECT_NEAR(SlopeAlong(signs, 1e-5f, alpha), wanted, 0.02 * norm);
  }
}

TEST_F(VisionTeacherTest, AStudentBecomesItsTeacher) {
  const HeldTargets targets = TargetsOf(kClasses, 2);
  images_.taught = &targets;
  TrainConfig config = Sgd(0.1, 200);
  config.batch = config.micro_batch = 6;
  config.teacher_alpha = 1;
  const double before = LossOf(student_.adapter, 1, 2);
  const auto trained = student_.Train(images_, config);
  ASSERT_TRUE(trained.ok()) << trained.status();
  Adapter after = student_.adapter;
  after.values = trained->delta;
  EXPECT_LT(LossOf(after, 1, 2), 0.05 * before);
  // Whose classes they are, not the labels'.
  const auto said = LogitsOf(teacher_model_, teacher_model_.adapter);
  const auto own = LogitsOf(student_, after);
  for (size_t i = 0; i < 6; ++i) {
    const auto best = [i](const std::vector<float>& all) {
      const auto row = std::span(all).subspan(i * kClasses, kClasses);
      return std::ranges::max_element(row) - row.begin();
    };
    EXPECT_EQ(best(own), best(said)) << i;
  }
}

TEST_F(VisionTeacherTest, WhatDoesNotFitIsRefused) {
  const HeldTargets none(2, 3);
  images_.taught = &none;
  const auto trained = student_.Train(images_, Sgd(0.1, 1));
  EXPECT_TRUE(absl::IsFailedPrecondition(trained.status()));
  EXPECT_THAT(std::string(trained.status().message()),
              HasSubstr("the teacher spoke at 0 positions"));

  ModelConfig other = student_.model->config();
  other.vocab = 9;
  for (const auto& student :
       {other, ConfigOf("mcmahan_2nn", {1, 8, 9}), ModelConfig()}) {
    const auto made = MakeVisionTeacher(teacher_model_.model, student, {});
    EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
    EXPECT_THAT(std::string(made.status().message()),
                HasSubstr("images of 1 x 8 x 8 and 10 classes"));
  }
  for (const int64_t k : {0, 11}) {
    EXPECT_TRUE(absl::IsInvalidArgument(teacher_->ComputeTargets(
        images_, 1, k, [](const TopTokens&) { return absl::OkStatus(); }, stop_,
        {})));
  }
}

}  // namespace
}  // namespace edgetune
