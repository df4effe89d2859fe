#ifndef EDGETUNE_TRAINING_IMAGES_JPEG_DECODER_H_
#define EDGETUNE_TRAINING_IMAGES_JPEG_DECODER_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "training/images/raster.h"

namespace edgetune {

// JPEG (ITU-T T.81) in grey or colour, sequential or progressive, by
// libjpeg-turbo, whose only door this is; as DecodeImage says. What libjpeg
// warns of (it would fill in grey) is damage here. Thread-safe.
absl::StatusOr<Raster> DecodeJpeg(std::span<const uint8_t> file,
                                  const RasterLimits& limits);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IMAGES_JPEG_DECODER_H_
