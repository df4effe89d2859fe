#ifndef EDGETUNE_TRAINING_IMAGES_RASTER_H_
#define EDGETUNE_TRAINING_IMAGES_RASTER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// A decoded image: row by row, the channels of a pixel beside each other, 0 to
// 255. Width, height >= 1.
struct Raster {
  int64_t width = 0, height = 0;
  int64_t channels = 0;  // 1: grey, 3: red, green, blue
  std::vector<uint8_t> pixels;
};

// What a file may announce before anything is allocated for it. Decoding takes
// 3 bytes a pixel, 9 at most (progressive JPEG, interlaced PNG in colour).
struct RasterLimits {
  int64_t most_pixels = int64_t{1} << 25;  // such as 5,792 by 5,792
  int64_t longest_side = 65535;
};

// Decodes a file that lies in memory, by how it begins: PNG or JPEG.
//
// Grey images become one channel, coloured ones three. 16 bits are rounded to
// 8. A pixel of opacity a becomes round(a v / 255): the image over black.
// Profiles, gamma and orientation are not applied.
//
// DataLoss: neither beginning, damaged, cut short; JPEG of other than 8 bits or
// in more than 100 scans. InvalidArgument: animated PNG; JPEG in CMYK or with
// arithmetic coding; more pixels than the limit, or than a file of this size
// can hold. Bytes behind the image's end are not looked at. Thread-safe.
absl::StatusOr<Raster> DecodeImage(std::span<const uint8_t> file,
                                   const RasterLimits& limits);

enum class ImageFormat { kNeither, kPng, kJpeg };
ImageFormat FormatOf(std::span<const uint8_t> file);

// InvalidArgument: none, or more than the limits say.
absl::Status CheckRasterSize(uint64_t width, uint64_t height,
                             const RasterLimits& limits);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IMAGES_RASTER_H_
