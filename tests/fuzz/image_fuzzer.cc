// A file as an image, PNG or JPEG, and what a model would be given of it.
// Input: the file, so that any picture is one.

#include <algorithm>
#include <vector>

#include "tests/fuzz/target.h"
#include "training/images/raster.h"
#include "training/images/resample.h"

namespace edgetune::fuzz {
namespace {

// Small, so that an input is quick: what is above is refused like what is above
// the product's.
constexpr RasterLimits kFuzzed = {.most_pixels = 1 << 14, .longest_side = 4096};

void CheckRaster(const Raster& raster) {
  Require(raster.width > 0 && raster.height > 0, "no image is empty");
  Require(std::max(raster.width, raster.height) <= kFuzzed.longest_side &&
              raster.width * raster.height <= kFuzzed.most_pixels,
          "no image above the limits");
  Require(raster.channels == 1 || raster.channels == 3, "grey or RGB");
  Require(
      raster.pixels.size() ==
          static_cast<size_t>(raster.width * raster.height * raster.channels),
      "as many pixels as its size says");
}

void CheckShapes(const Raster& raster) {
  for (const ImageShape& shape :
       {ImageShape{1, 3, 5}, ImageShape{3, 5, 3},
        ImageShape{raster.channels, raster.height, raster.width}}) {
    std::vector<uint8_t> out(static_cast<size_t>(shape.size()));
    Resample(raster, shape, out);
    const auto range = std::ranges::minmax(raster.pixels);
    Require(shape.channels != raster.channels ||
                std::ranges::all_of(out,
                                    [&](uint8_t v) {
                                      return range.min <= v && v <= range.max;
                                    }),
            "a mean lies between what it is of");
  }
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  const std::span<const uint8_t> file(data, size);
  const auto raster = DecodeImage(file, kFuzzed);
  if (!raster.ok()) {
    Require(absl::IsDataLoss(raster.status()) ||
                absl::IsInvalidArgument(raster.status()),
            "a code that says whose fault it is");
    return 0;
  }
  CheckRaster(*raster);
  CheckShapes(*raster);
  const auto again = DecodeImage(file, kFuzzed);
  Require(again.ok() && again->pixels == raster->pixels, "a file is one image");
  return 0;
}
