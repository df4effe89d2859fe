#include "training/images/raster.h"

#include <fmt/format.h>

#include <algorithm>

#include "training/images/jpeg_decoder.h"
#include "training/images/png_decoder.h"

namespace edgetune {
namespace {

constexpr uint8_t kPngBegins[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr uint8_t kJpegBegins[] = {0xff, 0xd8, 0xff};

bool BeginsWith(std::span<const uint8_t> file,
                std::span<const uint8_t> beginning) {
  return file.size() >= beginning.size() &&
         std::ranges::equal(file.first(beginning.size()), beginning);
}

}  // namespace

ImageFormat FormatOf(std::span<const uint8_t> file) {
  if (BeginsWith(file, kPngBegins)) return ImageFormat::kPng;
  if (BeginsWith(file, kJpegBegins)) return ImageFormat::kJpeg;
  return ImageFormat::kNeither;
}

absl::Status CheckRasterSize(uint64_t width, uint64_t height,
                             const RasterLimits& limits) {
  const auto most = static_cast<uint64_t>(limits.most_pixels);
  const auto longest = static_cast<uint64_t>(limits.longest_side);
  if (width > 0 && height > 0 && std::max(width, height) <= longest &&
      width <= most / height) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("an image of {} by {} pixels, wanted 1 to {} of them and no "
                  "side above {}",
                  width, height, most, longest));
}

absl::StatusOr<Raster> DecodeImage(std::span<const uint8_t> file,
                                   const RasterLimits& limits) {
  switch (FormatOf(file)) {
    case ImageFormat::kPng:
      return DecodePng(file, limits);
    case ImageFormat::kJpeg:
      return DecodeJpeg(file, limits);
    case ImageFormat::kNeither:
      break;
  }
  return absl::DataLossError(fmt::format(
      "{} bytes that begin neither as PNG nor as JPEG do", file.size()));
}

}  // namespace edgetune
