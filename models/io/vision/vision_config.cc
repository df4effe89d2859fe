#include "models/io/vision/vision_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/status.h"
#include "models/io/strict_json.h"
#include "models/io/vision/vision_network.h"

namespace edgetune {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

absl::Status Wrong(const std::string& key, const std::string& wanted) {
  return absl::InvalidArgumentError(
      fmt::format("{}: \"{}\" must be {}", kVisionConfigFile, key, wanted));
}

const char* NameOf(VisionVariant::Norm norm) {
  return norm == VisionVariant::Norm::kGroup ? "group" : "batch";
}

absl::StatusOr<int64_t> Whole(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found != config.end() && found->is_number_integer()) {
    return found->get<int64_t>();
  }
  return Wrong(key, "a whole number");
}

// One a channel, or none where the key is not there.
absl::StatusOr<std::vector<double>> OfChannels(const json& config,
                                               const char* key,
                                               int64_t channels) {
  const auto found = config.find(key);
  if (found == config.end()) return std::vector<double>();
  if (!found->is_array() || static_cast<int64_t>(found->size()) != channels ||
      !std::ranges::all_of(*found,
                           [](const json& v) { return v.is_number(); })) {
    return Wrong(key, fmt::format("{} numbers", channels));
  }
  return found->get<std::vector<double>>();
}

absl::StatusOr<PixelNorm> PixelsOf(const json& config, int64_t channels) {
  PixelNorm pixels;
  EDGETUNE_ASSIGN_OR_RETURN(pixels.mean,
                            OfChannels(config, "pixel_mean", channels));
  EDGETUNE_ASSIGN_OR_RETURN(pixels.deviation,
                            OfChannels(config, "pixel_deviation", channels));
  if (pixels.mean.size() != pixels.deviation.size()) {
    return Wrong("pixel_mean", "there together with \"pixel_deviation\"");
  }
  // Of values in [0, 1] none is larger, or below what 8 bits tell apart.
  const auto within = [](double low) {
    return [low](double v) { return v >= low && v <= 1; };
  };
  if (!std::ranges::all_of(pixels.mean, within(0))) {
    return Wrong("pixel_mean", "from 0 to 1");
  }
  if (!std::ranges::all_of(pixels.deviation, within(1.0 / 256))) {
    return Wrong("pixel_deviation", "from 1/256 to 1");
  }
  return pixels;
}

absl::StatusOr<VisionVariant> VariantOf(const json& config) {
  VisionVariant variant;
  if (const auto width = config.find("width_multiplier");
      width != config.end()) {
    if (!width->is_number()) return Wrong("width_multiplier", "a number");
    variant.width_multiplier = width->get<double>();
  }
  if (const auto norm = config.find("norm"); norm != config.end()) {
    auto parsed =
        ParseVisionNorm(norm->is_string() ? norm->get<std::string>() : "");
    EDGETUNE_RETURN_IF_ERROR(Prefix(parsed.status(), kVisionConfigFile));
    variant.norm = *parsed;
  }
  return variant;
}

absl::Status CheckKeys(const json& root) {
  static const auto& known = *new std::set<std::string>{
      "architecture", "channels",        "height",           "width", "classes",
      "pixel_mean",   "pixel_deviation", "width_multiplier", "norm"};
  for (const auto& [key, value] : root.items()) {
    if (known.contains(key)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" is not known", kVisionConfigFile, key));
  }
  return absl::OkStatus();
}

bool NamesArchitecture(const json& root) {
  return root.is_object() && root.contains("architecture");
}

}  // namespace

bool IsVisionConfig(std::string_view text) {
  const auto root = ParseStrictJson(text, kVisionConfigFile);
  return root.ok() && NamesArchitecture(*root);
}

absl::StatusOr<ModelConfig> ParseVisionConfig(std::string_view text) {
  EDGETUNE_ASSIGN_OR_RETURN(const json root,
                            ParseStrictJson(text, kVisionConfigFile));
  if (!NamesArchitecture(root) || !root["architecture"].is_string()) {
    return absl::InvalidArgumentError(
        fmt::format("{} must name an architecture", kVisionConfigFile));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckKeys(root));
  ModelConfig config;
  config.architecture = root["architecture"].get<std::string>();
  ImageShape image;
  EDGETUNE_ASSIGN_OR_RETURN(image.channels, Whole(root, "channels"));
  EDGETUNE_ASSIGN_OR_RETURN(image.height, Whole(root, "height"));
  EDGETUNE_ASSIGN_OR_RETURN(image.width, Whole(root, "width"));
  config.image = image;
  EDGETUNE_ASSIGN_OR_RETURN(config.vocab, Whole(root, "classes"));
  EDGETUNE_ASSIGN_OR_RETURN(config.pixels, PixelsOf(root, image.channels));
  EDGETUNE_ASSIGN_OR_RETURN(config.variant, VariantOf(root));
  config.context = 1;
  EDGETUNE_RETURN_IF_ERROR(
      Prefix(NetworkOf(config).status(), kVisionConfigFile));
  return config;
}

std::string VisionConfigText(const ModelConfig& config) {
  ordered_json text = {{"architecture", config.architecture},
                       {"channels", config.image->channels},
                       {"height", config.image->height},
                       {"width", config.image->width},
                       {"classes", config.vocab}};
  if (!config.pixels.mean.empty()) {
    text["pixel_mean"] = config.pixels.mean;
    text["pixel_deviation"] = config.pixels.deviation;
  }
  if (HasVariants(config.architecture)) {
    text["width_multiplier"] = config.variant.width_multiplier;
    text["norm"] = NameOf(config.variant.norm);
  }
  return JsonFileText(text);
}

absl::StatusOr<VisionVariant::Norm> ParseVisionNorm(std::string_view name) {
  for (const auto norm :
       {VisionVariant::Norm::kBatch, VisionVariant::Norm::kGroup}) {
    if (name == NameOf(norm)) return norm;
  }
  return absl::InvalidArgumentError("\"norm\" must be \"batch\" or \"group\"");
}

}  // namespace edgetune
