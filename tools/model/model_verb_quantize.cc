#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "models/io/quantise/quantise.h"
#include "models/io/quantise/quantising_encoder.h"
#include "tools/model/calibrated_rounding.h"
#include "tools/model/model_path.h"
#include "tools/model/model_verb.h"
#include "tools/model/model_writing.h"

namespace edgetune {
namespace {

struct QuantizeOptions {
  std::string model, to = "q4_k_m", out, calibrate;
  int64_t calibration_tokens = 32768;
};

// What became of the matrices: how many of which type.
std::map<std::string, int> CountTypes(const TensorSource& source,
                                      const TensorEncoder& encoder) {
  std::map<std::string, int> counts;
  for (const TensorInfo& tensor : source.tensors()) {
    ++counts[std::string(BlockShapeOf(encoder.TypeOf(tensor)).name)];
  }
  return counts;
}

bool IsQuantised(const TensorSource& source) {
  for (const TensorInfo& tensor : source.tensors()) {
    if (tensor.type.starts_with('Q')) return true;
  }
  return false;
}

// Whether examples can decide anything of this mix.
absl::Status CheckLevels(const QuantizeOptions& options,
                         const TensorSource& source,
                         const TensorEncoder& encoder) {
  for (const TensorInfo& tensor : source.tensors()) {
    if (tensor.name.ends_with("_proj.weight") &&
        HasLevels(encoder.TypeOf(tensor))) {
      return absl::OkStatus();
    }
  }
  return UsageError(
      fmt::format("--calibrate has no use for {}: its blocks have scales of "
                  "scales",
                  options.to),
      "take q4_0, q4_1, q5_0, q5_1 or q8_0");
}

absl::Status Quantize(const QuantizeOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  EDGETUNE_ASSIGN_OR_RETURN(const auto encoder,
                            MakeQuantisingEncoder(options.to, model->config()));
  if (IsQuantised(*model)) {
    output.Note(
        "the model is quantised already: what its rounding lost stays lost, "
        "and the new rounding comes on top");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  std::unique_ptr<ModelFile> rounded;
  if (!options.calibrate.empty()) {
    EDGETUNE_RETURN_IF_ERROR(CheckLevels(options, *model, *encoder));
    EDGETUNE_ASSIGN_OR_RETURN(
        rounded, RoundByExamples(model, *encoder, options.calibrate,
                                 options.calibration_tokens, output));
  }
  const ModelFile& result = rounded ? *rounded : *model;
  EDGETUNE_ASSIGN_OR_RETURN(const WrittenModel written,
                            WriteModel({options.out}, DescriptionOf(*model),
                                       result, *encoder, output));
  uint64_t before = 0;
  for (const TensorInfo& tensor : model->tensors()) before += tensor.bytes;
  const auto types = CountTypes(*model, *encoder);
  std::vector<std::string> parts;
  for (const auto& [type, count] : types) {
    parts.push_back(fmt::format("{} {}", count, type));
  }
  return output.Finish(
      {{"path", options.out},
       {"mix", options.to},
       {"bytes", written.bytes},
       {"digest", written.digest},
       {"source_tensor_bytes", before},
       {"seconds", written.seconds},
       {"tensor_types", types}},
      output.quiet
          ? options.out
          : FormatTable({{"file", options.out},
                         {"mix", options.to},
                         {"tensors", fmt::format("{}", fmt::join(parts, ", "))},
                         {"size", FormatBytes(written.bytes)},
                         {"source", FormatBytes(before)},
                         {"took", fmt::format("{:.1f} s", written.seconds)}}));
}

}  // namespace

void AddModelQuantizeVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "quantize",
              "Write a smaller GGUF with llama.cpp's block types",
              [options, &output] { return Quantize(*options, output); });
  verb->add_option("model", options->model,
                   "Name in the cache, GGUF file or Hugging Face directory")
      ->required();
  verb->add_option("--to", options->to, MixNames())->capture_default_str();
  verb->add_option("--out", options->out, "GGUF file to write")->required();
  auto* calibrate = verb->add_option(
      "--calibrate", options->calibrate,
      "Examples (JSONL) whose outputs shall change least (GPTQ): q4_0, q4_1, "
      "q5_0, q5_1, q8_0");
  verb->add_option("--calibration-tokens", options->calibration_tokens,
                   "So many tokens of them, from the first on")
      ->check(CLI::PositiveNumber)
      ->needs(calibrate)
      ->capture_default_str();
}

}  // namespace edgetune
