// Expected values: make_sgd_vectors.py.

#include "training/sgd.h"

#include <gtest/gtest.h>

#include <vector>

namespace edgetune {
namespace {

const std::vector<std::vector<float>> kGradients = {
    {0.3f, -0.2f, 0.0f}, {-1.0f, 0.4f, 1e-3f}, {0.05f, 0.0f, -2e-3f}};
const double kRates[] = {0.1, 0.1, 0.05};

struct Case {
  double momentum, weight_decay;
  std::vector<std::vector<float>> values;  // after each step
};

const Case kCases[] = {{0,
                        0,
                        {{0.970000029f, -1.98000002f, 0.5f},
                         {1.07000005f, -2.01999998f, 0.499900013f},
                         {1.0675f, -2.01999998f, 0.5f}}},
                       {0,
                        0.01,
                        {{0.968999982f, -1.97800004f, 0.499500006f},
                         {1.06803095f, -2.01602197f, 0.498900503f},
                         {1.06499696f, -2.01501393f, 0.498751044f}}},
                       {0.9,
                        0,
                        {{0.970000029f, -1.98000002f, 0.5f},
                         {1.04299998f, -2.00200009f, 0.499900013f},
                         {1.07334995f, -2.01190019f, 0.499954998f}}},
                       {0.9,
                        0.01,
                        {{0.968999982f, -1.97800004f, 0.499500006f},
                         {1.04013097f, -1.99622202f, 0.498450518f},
                         {1.06911981f, -2.00342369f, 0.49782902f}}}};

TEST(SgdTest, StepsEqualThoseOfTheMaker) {
  for (const Case& c : kCases) {
    std::vector<float> values = {1.0f, -2.0f, 0.5f};
    Sgd optimizer(3, c.momentum, c.weight_decay);
    for (size_t step = 0; step < kGradients.size(); ++step) {
      optimizer.Step(values, kGradients[step], kRates[step]);
      for (size_t i = 0; i < values.size(); ++i) {
        // Room for fused multiply-adds: an ulp of 2 a step.
        EXPECT_NEAR(values[i], c.values[step][i], 1e-6)
            << c.momentum << " " << c.weight_decay << " " << step << " " << i;
      }
    }
  }
}

TEST(SgdTest, WithoutMomentumItKeepsNothing) {
  EXPECT_TRUE(Sgd(3, 0, 0.1).moments().empty());
  EXPECT_EQ(Sgd(3, 0.5, 0).moments().size(), 1u);
}

TEST(SgdTest, RestoredItGoesOnToTheSameBits) {
  std::vector<float> values = {1.0f, -2.0f, 0.5f};
  Sgd whole(3, 0.9, 0.01), other(3, 0.9, 0.01);
  whole.Step(values, kGradients[0], 0.1);
  const auto moment = whole.moments()[0];
  other.Restore(1, {{moment.begin(), moment.end()}});
  std::vector<float> same = values;
  whole.Step(values, kGradients[1], 0.1);
  other.Step(same, kGradients[1], 0.1);
  EXPECT_EQ(values, same);
}

}  // namespace
}  // namespace edgetune
