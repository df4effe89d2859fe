#include "tools/model/model_writing.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "base/units.h"
#include "models/io/quantise/quantising_encoder.h"
#include "tools/child_process.h"
#include "tools/model/base_files.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

constexpr std::pair<const char*, BlockType> kPlainTypes[] = {
    {"f32", BlockType::kF32},
    {"f16", BlockType::kF16},
    {"bf16", BlockType::kBF16}};

}  // namespace

absl::StatusOr<WrittenModel> WriteModel(const ModelTarget& target,
                                        const ModelDescription& model,
                                        const TensorSource& source,
                                        const TensorEncoder& encoder,
                                        const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckNew(target.path));
  CatchInterrupts();
  const absl::Time start = absl::Now();
  std::optional<Progress> progress;
  WriteOptions options;
  options.shard_bytes = target.shard_bytes;
  options.provenance = target.provenance;
  options.progress = [&](uint64_t done, uint64_t total) {
    if (Interrupted()) return InterruptedError();
    if (!progress) {
      progress.emplace(output, "writing " + target.path, total,
                       Progress::Unit::kBytes);
    }
    progress->Update(done);
    return absl::OkStatus();
  };
  EDGETUNE_RETURN_IF_ERROR(Annotate(
      target.format == ModelFormat::kGguf
          ? WriteGgufModel(target.path, model, source, encoder, options)
          : WriteHfModel(target.path, model, source, encoder, options),
      ErrorKind::kModel));
  WrittenModel written;
  written.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  EDGETUNE_ASSIGN_OR_RETURN(const auto parts, BasePartsOf(target.path));
  written.files = parts.size();
  for (const v1::FilePart& part : parts) written.bytes += part.size();
  written.digest = ToHex(BaseDigest(parts));
  return written;
}

absl::StatusOr<std::unique_ptr<TensorEncoder>> MakeEncoder(
    const std::string& type, ModelFormat format, const TensorSource& source,
    const ModelConfig& model) {
  if (type.empty()) return MakePlainEncoder(source, std::nullopt, format);
  for (const auto& [name, plain] : kPlainTypes) {
    if (type == name) return MakePlainEncoder(source, plain, format);
  }
  if (format != ModelFormat::kGguf) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format(
            "a Hugging Face directory cannot hold tensors of type {}", type)),
        ErrorKind::kUsage,
        fmt::format("take {}, or write a GGUF", PlainTypeNames()));
  }
  return MakeQuantisingEncoder(type, model);
}

ModelFormat ModelFormatOf(const std::string& name) {
  return name == "gguf" ? ModelFormat::kGguf : ModelFormat::kHuggingFace;
}

std::string PlainTypeNames() {
  std::vector<std::string> names;
  for (const auto& [name, type] : kPlainTypes) names.push_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string MixNames() {
  std::vector<std::string_view> names;
  for (const QuantisationMix& mix : QuantisationMixes()) {
    names.push_back(mix.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace edgetune
