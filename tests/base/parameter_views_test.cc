#include "base/parameter_views.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/parameters.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using testing::kInf;
using testing::kNaN;

TEST(ParameterViewsTest, BytesAndCoordinatesLieInOnePlace) {
  const std::vector<float> values = {1.0f, -2.5f, 0.1f};
  const std::span<const uint8_t> bytes = ParameterBytes(values);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()),
            SerializeParameters(values));
  const auto view = ViewParameters(bytes, 3);
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->data(), values.data());
  EXPECT_EQ(view->size(), 3u);
}

TEST(ParameterViewsTest, AnotherLengthIsRefused) {
  const std::vector<float> values(3);
  for (const size_t expected : {2, 4}) {
    EXPECT_TRUE(absl::IsDataLoss(
        ViewParameters(ParameterBytes(values), expected).status()));
  }
  EXPECT_TRUE(absl::IsDataLoss(
      ViewParameters(ParameterBytes(values).first(11), 3).status()));
}

TEST(ParameterViewsTest, TheLargestMagnitudeIsFoundWhereverItIs) {
  EXPECT_EQ(LargestMagnitude({}), 0);
  for (size_t place = 0; place < 19; ++place) {
    std::vector<float> values(19, -0.25f);
    for (const float large :
         {0.5f, -3.0f, 1e-3f + 0.25f, kInf<float>, -kInf<float>}) {
      values[place] = large;
      EXPECT_EQ(LargestMagnitude(values), std::fabs(large));
      EXPECT_EQ(CheckFinite(values, "it").ok(), std::isfinite(large));
    }
    for (const float nan : {kNaN<float>, -kNaN<float>}) {
      values[place] = nan;
      EXPECT_TRUE(std::isnan(LargestMagnitude(values)));
      EXPECT_EQ(CheckFinite(values, "it").message(),
                "coordinate " + std::to_string(place) + " of it is not finite");
    }
  }
}

}  // namespace
}  // namespace edgetune
