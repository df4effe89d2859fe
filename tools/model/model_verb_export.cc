#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/model/model_path.h"
#include "tools/model/model_verb.h"
#include "tools/model/model_writing.h"

namespace edgetune {
namespace {

struct ExportOptions {
  std::string model;
  std::string to;
  std::string type;
  std::string out;
  uint64_t shard_mb = 5000;
};

absl::Status Export(const ExportOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  const ModelTarget target = {options.out, ModelFormatOf(options.to),
                              options.shard_mb * 1000 * 1000};
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto encoder,
      MakeEncoder(options.type, target.format, *model, model->config()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const WrittenModel written,
      WriteModel(target, DescriptionOf(*model), *model, *encoder, output));
  return output.Finish({{"path", options.out},
                        {"format", options.to},
                        {"files", written.files},
                        {"bytes", written.bytes},
                        {"digest", written.digest}},
                       options.out);
}

}  // namespace

void AddModelExportVerb(CLI::App& group, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<ExportOptions>();
  CLI::App* verb =
      AddVerb(group, invocation, "export", "Write a model for other tools",
              [options, &output] { return Export(*options, output); });
  verb->add_option("model", options->model,
                   "Name in the cache, GGUF file or Hugging Face directory")
      ->required();
  verb->add_option("--to", options->to,
                   "hf (directory for transformers) or gguf (file for "
                   "llama.cpp)")
      ->check(CLI::IsMember({"hf", "gguf"}))
      ->required();
  verb->add_option("--type", options->type,
                   fmt::format("{} (default: as the model has it; bf16 where "
                               "it is quantised)",
                               PlainTypeNames()))
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  verb->add_option("--shard-mb", options->shard_mb,
                   "Cut a directory's weights into files of so many MB")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
  verb->add_option("--out", options->out, "What to write")->required();
}

}  // namespace edgetune
