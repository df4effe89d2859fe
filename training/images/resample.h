#ifndef EDGETUNE_TRAINING_IMAGES_RESAMPLE_H_
#define EDGETUNE_TRAINING_IMAGES_RESAMPLE_H_

#include <cstdint>
#include <span>

#include "models/io/model_file.h"
#include "training/images/raster.h"

namespace edgetune {

// Writes the image as a model takes it, channel by channel: `out` has
// shape.size() bytes, shape 1 or 3 channels.
//
// Colour becomes grey as (19595 R + 38470 G + 7471 B + 32768) >> 16 (ITU-R
// BT.601's luma in integers), grey becomes colour by repetition. Another size:
// stretched to the shape, its aspect ratio is not kept, by the separable
// triangle filter, as wide as the scale where it shrinks (PIL's BILINEAR,
// torch.nn.functional.interpolate's mode="bilinear", antialias=True,
// align_corners=False): pixel i of n from m is the mean of pixels j with
// weights max(0, 1 - |j + 1/2 - (i + 1/2) m/n| / max(1, m/n)). In float32,
// rounded to nearest once. Thread-safe.
void Resample(const Raster& raster, const ImageShape& shape,
              std::span<uint8_t> out);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IMAGES_RESAMPLE_H_
