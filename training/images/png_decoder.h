#ifndef EDGETUNE_TRAINING_IMAGES_PNG_DECODER_H_
#define EDGETUNE_TRAINING_IMAGES_PNG_DECODER_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "training/images/raster.h"

namespace edgetune {

// PNG (ISO/IEC 15948) by libpng, whose only door this is: every colour type and
// depth, interlaced or not, as DecodeImage says. Thread-safe.
absl::StatusOr<Raster> DecodePng(std::span<const uint8_t> file,
                                 const RasterLimits& limits);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IMAGES_PNG_DECODER_H_
