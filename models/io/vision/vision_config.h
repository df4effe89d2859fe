#ifndef EDGETUNE_MODELS_IO_VISION_VISION_CONFIG_H_
#define EDGETUNE_MODELS_IO_VISION_VISION_CONFIG_H_

// config.json of a vision model, such as
//
//   {"architecture": "mobilenet_v2",
//    "channels": 3, "height": 224, "width": 224, "classes": 1000,
//    "pixel_mean": [0.485, 0.456, 0.406],
//    "pixel_deviation": [0.229, 0.224, 0.225],
//    "width_multiplier": 1.0, "norm": "batch"}
//
// Pixels in [0, 1] are taken as they are without the two lists, which have a
// number for each channel. The last two are for architectures that have
// variants; left out, they are as here, "norm" may also be "group". Stateless.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"

namespace edgetune {

inline constexpr char kVisionConfigFile[] = "config.json";

// Whether this names one architecture, as that of no language model does.
bool IsVisionConfig(std::string_view text);

// `name` is left empty. DataLoss: not JSON. InvalidArgument: a field is
// missing, of another kind or unknown, or what NetworkOf refuses.
absl::StatusOr<ModelConfig> ParseVisionConfig(std::string_view text);
std::string VisionConfigText(const ModelConfig& config);

// "batch" and "group". InvalidArgument: neither.
absl::StatusOr<VisionVariant::Norm> ParseVisionNorm(std::string_view name);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_VISION_VISION_CONFIG_H_
