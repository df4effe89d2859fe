#include "tools/model_writing.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "models/io/quantising_encoder.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<const char*, BlockType> kPlainTypes[] = {
    {"f32", BlockType::kF32},
    {"f16", BlockType::kF16},
    {"bf16", BlockType::kBF16}};

uint64_t BytesAt(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return fs::file_size(path, ignored);
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    bytes += entry.file_size(ignored);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<WrittenModel> WriteModel(const std::string& out,
                                        ModelFormat format,
                                        const ModelDescription& model,
                                        const TensorSource& source,
                                        const TensorEncoder& encoder,
                                        const Output& output) {
  std::error_code ignored;
  if (fs::exists(out, ignored)) {
    return Annotate(absl::AlreadyExistsError(out + " exists already"),
                    ErrorKind::kUsage, "name something new with --out");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckWritableParent(out));
  const absl::Time start = absl::Now();
  std::optional<Progress> progress;
  WriteOptions options;
  options.progress = [&](uint64_t done, uint64_t total) {
    if (!progress) {
      progress.emplace(output, "writing " + out, total, Progress::Unit::kBytes);
    }
    progress->Update(done);
    return absl::OkStatus();
  };
  EDGETUNE_RETURN_IF_ERROR(
      format == ModelFormat::kGguf
          ? WriteGgufModel(out, model, source, encoder, options)
          : WriteHfModel(out, model, source, encoder, options));
  return WrittenModel{BytesAt(out), absl::ToDoubleSeconds(absl::Now() - start)};
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
