#include "training/images/resample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/training/images/image_vectors.h"

namespace edgetune {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<uint8_t> Resampled(const Raster& raster, const ImageShape& shape) {
  std::vector<uint8_t> out(static_cast<size_t>(shape.size()));
  Resample(raster, shape, out);
  return out;
}

TEST(ResampleTest, IsTheAntialiasedInterpolationOfPyTorch) {
  const Raster colour = testing::ReadNetpbm("colour.ppm");
  for (const auto& [height, width] :
       {std::pair(4, 5), std::pair(9, 6), std::pair(20, 31), std::pair(1, 1),
        std::pair(7, 40)}) {
    const std::string name = std::to_string(height) + "x" +
                             std::to_string(width) + "-from-colour.f32";
    const std::vector<float> wanted = testing::ReadFloats(name);
    const auto got = Resampled(colour, {3, height, width});
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE(std::abs(static_cast<float>(got[i]) - wanted[i]), 0.501f)
          << name << " at " << i;
    }
  }
}

TEST(ResampleTest, AnImageOfTheRightSizeStaysAsItIs) {
  const Raster grey = testing::ReadNetpbm("grey.pgm");
  EXPECT_EQ(Resampled(grey, {1, grey.height, grey.width}), grey.pixels);
  const Raster colour = testing::ReadNetpbm("colour.ppm");
  const auto planes = Resampled(colour, {3, colour.height, colour.width});
  const size_t plane = planes.size() / 3;
  for (size_t i = 0; i < planes.size(); ++i) {
    ASSERT_EQ(planes[i], colour.pixels[i % plane * 3 + i / plane]);
  }
}

TEST(ResampleTest, GreyIsRepeatedAndColourIsWeighed) {
  const Raster grey = {1, 1, 1, {90}};
  EXPECT_THAT(Resampled(grey, {3, 1, 1}), ElementsAre(90, 90, 90));
  // 0.299 R + 0.587 G + 0.114 B.
  const Raster colours = {
      4, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 30}};
  EXPECT_THAT(Resampled(colours, {1, 1, 4}), ElementsAre(76, 150, 29, 124));
}

TEST(ResampleTest, AFlatImageStaysFlatAtAnySize) {
  Raster flat = {17, 11, 1, std::vector<uint8_t>(17 * 11, 255)};
  EXPECT_THAT(Resampled(flat, {3, 5, 29}), Each(255));
  flat.pixels.assign(flat.pixels.size(), 0);
  EXPECT_THAT(Resampled(flat, {1, 40, 3}), Each(0));
}

TEST(ResampleTest, HalvingAveragesByTheTriangle) {
  // Weights 3/4 and 1/4 at distances 1/2 and 3/2 of a reach of 2, summing to 2;
  // at the edges the outer ones are missing.
  const Raster row = {4, 1, 1, {10, 20, 40, 80}};
  EXPECT_THAT(
      Resampled(row, {1, 1, 2}),
      ElementsAre(std::lround((0.75 * 10 + 0.75 * 20 + 0.25 * 40) / 1.75),
                  std::lround((0.25 * 20 + 0.75 * 40 + 0.75 * 80) / 1.75)));
}

}  // namespace
}  // namespace edgetune
