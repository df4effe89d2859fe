#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "models/io/vision/vision_config.h"
#include "models/io/vision/vision_model.h"
#include "models/io/vision/vision_network.h"
#include "tools/model/model_verb.h"
#include "tools/output.h"

namespace edgetune {
namespace {

struct InitOptions {
  std::string architecture;
  ImageShape image = {1, 28, 28};
  int64_t classes = 10;
  double width_multiplier = 1;
  std::string norm;
  uint64_t seed = 1;
  std::string out;
};

// Weights that have learnt nothing come without statistics: group norm, unless
// the user says otherwise.
absl::StatusOr<VisionVariant> VariantOf(const InitOptions& options) {
  VisionVariant variant;
  variant.width_multiplier = options.width_multiplier;
  if (!options.norm.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(variant.norm, ParseVisionNorm(options.norm));
  } else if (HasVariants(options.architecture)) {
    variant.norm = VisionVariant::Norm::kGroup;
  }
  return variant;
}

absl::StatusOr<VisionNetwork> NetworkFor(const InitOptions& options,
                                         ModelConfig& config) {
  config.architecture = options.architecture;
  config.image = options.image;
  config.vocab = options.classes;
  EDGETUNE_ASSIGN_OR_RETURN(config.variant, VariantOf(options));
  return NetworkOf(config);
}

absl::Status Init(const InitOptions& options, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  ModelConfig config;
  const auto network = NetworkFor(options, config);
  if (!network.ok()) return Annotate(network.status(), ErrorKind::kUsage);
  const ParameterVector values = InitialWeights(*network, options.seed);
  const absl::Status written =
      WriteVisionModel(options.out, config, values,
                       {{"made_by", "edgetune model init " EDGETUNE_VERSION},
                        {"seed", std::to_string(options.seed)}},
                       InitialStatistics(*network));
  if (!written.ok()) return Annotate(written, ErrorKind::kUsage);
  return output.Finish(
      {{"path", options.out},
       {"architecture", options.architecture},
       {"parameters", values.size()},
       {"seed", options.seed}},
      output.quiet
          ? options.out
          : fmt::format("{}: {} with {} parameters, drawn with seed {}",
                        options.out, options.architecture, values.size(),
                        options.seed));
}

}  // namespace

void AddModelInitVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<InitOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "init",
              "Make a model of images with weights that have learnt nothing",
              [options, &output] { return Init(*options, output); });
  verb->add_option("architecture", options->architecture,
                   fmt::format("{}", fmt::join(VisionArchitectures(), ", ")))
      ->required();
  verb->add_option("--out", options->out, "Directory to write")->required();
  verb->add_option("--channels", options->image.channels, "Of an image")
      ->capture_default_str();
  verb->add_option("--height", options->image.height, "Rows of pixels")
      ->capture_default_str();
  verb->add_option("--width", options->image.width, "Pixels of a row")
      ->capture_default_str();
  verb->add_option("--classes", options->classes, "That are told apart")
      ->capture_default_str();
  verb->add_option("--width-multiplier", options->width_multiplier,
                   "Of the numbers of channels, where the architecture has one")
      ->capture_default_str();
  verb->add_option("--norm", options->norm,
                   "group (the default, where the architecture normalises) or "
                   "batch, by fixed means 0 and variances 1");
  verb->add_option("--seed", options->seed, "Of the weights")
      ->capture_default_str();
}

}  // namespace edgetune
