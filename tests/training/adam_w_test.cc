// Expected values: torch.optim.AdamW and torch.nn.utils.clip_grad_norm_,
// PyTorch 2.13, float32.

#include "training/adam_w.h"

#include <gtest/gtest.h>

#include <vector>

namespace edgetune {
namespace {

void ExpectNear(const std::vector<float>& got,
                const std::vector<float>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], wanted[i], 1e-6) << i;
  }
}

TEST(AdamWTest, StepsEqualThoseOfTorch) {
  std::vector<float> values = {1.0f, -2.0f, 0.5f};
  AdamW optimizer(3, /*weight_decay=*/0.01);
  optimizer.Step(values, std::vector<float>{0.3f, -0.2f, 0.0f}, 0.1);
  ExpectNear(values, {0.899000049f, -1.898f, 0.499500006f});
  optimizer.Step(values, std::vector<float>{-1.0f, 0.4f, 1e-3f}, 0.1);
  ExpectNear(values, {0.950134218f, -1.93271244f, 0.424587905f});
  optimizer.Step(values, std::vector<float>{0.05f, 0.0f, -2e-3f}, 0.1);
  ExpectNear(values, {0.986302316f, -1.95907962f, 0.455591679f});
}

TEST(AdamWTest, ClippingScalesToTheLimit) {
  std::vector<float> gradient = {3, 4, 12};
  EXPECT_DOUBLE_EQ(ClipByGlobalNorm(gradient, 2), 13);
  ExpectNear(gradient, {6.0f / 13, 8.0f / 13, 24.0f / 13});
}

TEST(AdamWTest, ClippingLeavesAShortGradientAlone) {
  std::vector<float> gradient = {3, 4, 12};
  EXPECT_DOUBLE_EQ(ClipByGlobalNorm(gradient, 14), 13);
  EXPECT_DOUBLE_EQ(ClipByGlobalNorm(gradient, 0), 13);
  ExpectNear(gradient, {3, 4, 12});
}

}  // namespace
}  // namespace edgetune
