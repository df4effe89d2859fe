#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "models/io/model_writer.h"
#include "tools/base_files.h"
#include "tools/child_process.h"
#include "tools/model_path.h"
#include "tools/model_verb.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

struct ExportOptions {
  std::string model;
  std::string to;
  std::string type;
  std::string out;
  uint64_t shard_mb = 5000;
};

std::optional<BlockType> TypeOf(const std::string& name) {
  static const std::map<std::string, BlockType> types = {
      {"f32", BlockType::kF32},
      {"f16", BlockType::kF16},
      {"bf16", BlockType::kBF16}};
  auto it = types.find(name);
  if (it == types.end()) return std::nullopt;
  return it->second;
}

absl::Status Write(const ExportOptions& options, const ModelFile& model,
                   const Output& output) {
  const bool gguf = options.to == "gguf";
  EDGETUNE_ASSIGN_OR_RETURN(
      auto encoder,
      MakePlainEncoder(model, TypeOf(options.type),
                       gguf ? ModelFormat::kGguf : ModelFormat::kHuggingFace));
  std::unique_ptr<Progress> progress;
  WriteOptions write;
  write.shard_bytes = options.shard_mb * 1000 * 1000;
  write.progress = [&](uint64_t done, uint64_t total) -> absl::Status {
    if (Interrupted()) return absl::CancelledError("interrupted");
    if (progress == nullptr) {
      progress = std::make_unique<Progress>(output, "export", total,
                                            Progress::Unit::kBytes);
    }
    progress->Update(done);
    return absl::OkStatus();
  };
  const ModelDescription description = DescriptionOf(model);
  return gguf ? WriteGgufModel(options.out, description, model, *encoder, write)
              : WriteHfModel(options.out, description, model, *encoder, write);
}

absl::Status Export(const ExportOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  EDGETUNE_RETURN_IF_ERROR(CheckWritableParent(options.out));
  CatchInterrupts();
  EDGETUNE_RETURN_IF_ERROR(
      Annotate(Write(options, *model, output), ErrorKind::kModel));
  EDGETUNE_ASSIGN_OR_RETURN(auto parts, BasePartsOf(options.out));
  uint64_t bytes = 0;
  for (const v1::FilePart& part : parts) bytes += part.size();
  return output.Finish({{"path", options.out},
                        {"format", options.to},
                        {"files", parts.size()},
                        {"bytes", bytes},
                        {"digest", ToHex(BaseDigest(parts))}},
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
                   "f32, f16 or bf16 (default: as the model has it; bf16 "
                   "where it is quantised)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  verb->add_option("--shard-mb", options->shard_mb,
                   "Cut a directory's weights into files of so many MB")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
  verb->add_option("--out", options->out, "What to write")->required();
}

}  // namespace edgetune
