#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "models/io/quantise/quantising_encoder.h"
#include "tools/model/model_path.h"
#include "tools/model/model_verb.h"
#include "tools/model/model_writing.h"

namespace edgetune {
namespace {

struct QuantizeOptions {
  std::string model, to = "q4_k_m", out;
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
  EDGETUNE_ASSIGN_OR_RETURN(const WrittenModel written,
                            WriteModel({options.out}, DescriptionOf(*model),
                                       *model, *encoder, output));
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
}

}  // namespace edgetune
