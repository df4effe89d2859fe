#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/adapter/merged_model.h"
#include "privacy/crypto/hash.h"
#include "tools/model/model_path.h"
#include "tools/model/model_writing.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct AdapterOptions {
  std::string adapter, model, to = "gguf", out, type;
};

absl::StatusOr<Adapter> Open(const AdapterOptions& options,
                             const ModelFile& model) {
  absl::StatusOr<Adapter> adapter =
      ReadAdapter(options.adapter, model.config());
  if (adapter.ok()) return adapter;
  return Annotate(adapter.status(), ErrorKind::kModel,
                  "wanted a PEFT directory or a llama.cpp LoRA file of this "
                  "base model");
}

std::string AdapterDigest(const Adapter& adapter) {
  return ToHex(Sha256Bytes(SerializeParameters(adapter.values)));
}

absl::Status Export(const AdapterOptions& options, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  EDGETUNE_ASSIGN_OR_RETURN(Adapter adapter, Open(options, *model));
  const std::string base = ModelDisplayName(options.model);
  const std::string digest = AdapterDigest(adapter);
  if (options.to == "gguf") {
    EDGETUNE_RETURN_IF_ERROR(
        WriteGgufAdapter(options.out, adapter, model->config(), base));
  } else {
    EDGETUNE_RETURN_IF_ERROR(WritePeftAdapter(
        options.out, adapter, base,
        {{"made_by", "edgetune adapter export " EDGETUNE_VERSION},
         {"adapter_sha256", digest}}));
  }
  return output.Finish({{"path", options.out},
                        {"format", options.to},
                        {"adapter_sha256", digest}},
                       options.out);
}

// Somebody else's adapter, checked, as a PEFT directory of ours.
absl::Status Import(const AdapterOptions& options, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  EDGETUNE_ASSIGN_OR_RETURN(const Adapter adapter, Open(options, *model));
  const std::string digest = AdapterDigest(adapter);
  EDGETUNE_RETURN_IF_ERROR(WritePeftAdapter(
      options.out, adapter, ModelDisplayName(options.model),
      {{"made_by", "edgetune adapter import " EDGETUNE_VERSION},
       {"imported_from", std::filesystem::path(options.adapter).filename()},
       {"adapter_sha256", digest}}));
  return output.Finish({{"path", options.out}, {"adapter_sha256", digest}},
                       options.out);
}

// The adapter's changes as part of the weights: no adapter is needed any more.
absl::Status Merge(const AdapterOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  EDGETUNE_ASSIGN_OR_RETURN(const Adapter adapter, Open(options, *model));
  const auto merged = MakeMergedSource(*model, adapter);
  const ModelTarget target = {options.out, ModelFormatOf(options.to)};
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto encoder,
      MakeEncoder(options.type, target.format, *merged, model->config()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const WrittenModel written,
      WriteModel(target, DescriptionOf(*model), *merged, *encoder, output));
  return output.Finish({{"path", options.out},
                        {"format", options.to},
                        {"bytes", written.bytes},
                        {"digest", written.digest},
                        {"adapter_sha256", AdapterDigest(adapter)}},
                       options.out);
}

// "2 to 8", or the one there is.
std::string RanksOf(const AdapterSpec& spec) {
  int64_t low = spec.rank, high = spec.rank;
  for (const auto& [module, lora] : spec.exceptions) {
    low = std::min(low, lora.rank);
    high = std::max(high, lora.rank);
  }
  return low == high ? fmt::format("{}", low)
                     : fmt::format("{} to {}, mostly {}", low, high, spec.rank);
}

nlohmann::json ExceptionsOf(const AdapterSpec& spec) {
  nlohmann::json exceptions = nlohmann::json::object();
  for (const auto& [module, lora] : spec.exceptions) {
    exceptions[module] = {{"rank", lora.rank}, {"alpha", lora.alpha}};
  }
  return exceptions;
}

absl::Status Inspect(const AdapterOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> model,
                            OpenModel(options.model));
  EDGETUNE_ASSIGN_OR_RETURN(Adapter adapter, Open(options, *model));
  double square = 0;
  for (const float v : adapter.values) square += double{v} * v;
  std::string targets;
  for (const std::string& target : adapter.spec.targets) {
    targets += (targets.empty() ? "" : ", ") + target;
  }
  const std::string digest = AdapterDigest(adapter);
  return output.Finish(
      {{"path", options.adapter},
       {"rank", adapter.spec.rank},
       {"alpha", adapter.spec.alpha},
       {"exceptions", ExceptionsOf(adapter.spec)},
       {"targets", adapter.spec.targets},
       {"tensors", adapter.layout.tensors().size()},
       {"coordinates", adapter.values.size()},
       {"l2_norm", std::sqrt(square)},
       {"adapter_sha256", digest}},
      FormatTable({{"adapter", options.adapter},
                   {"rank", RanksOf(adapter.spec)},
                   {"alpha", fmt::format("{}", adapter.spec.alpha)},
                   {"targets", targets},
                   {"coordinates", fmt::format("{}", adapter.values.size())},
                   {"L2 norm", fmt::format("{:.4f}", std::sqrt(square))},
                   {"SHA-256", digest}}));
}

void AddInputs(CLI::App& verb, AdapterOptions& options) {
  verb.add_option("adapter", options.adapter, "PEFT directory or LoRA GGUF")
      ->required();
  verb.add_option("--model", options.model, "Its base: name or GGUF file")
      ->required();
}

}  // namespace

void AddAdapterVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "adapter", "LoRA adapters");
  const Output& output = invocation.output;
  auto options = std::make_shared<AdapterOptions>();
  CLI::App* verb =
      AddVerb(*group, invocation, "export", "Write an adapter for other tools",
              [options, &output] { return Export(*options, output); });
  AddInputs(*verb, *options);
  verb->add_option("--to", options->to, "peft or gguf (llama.cpp)")
      ->check(CLI::IsMember({"peft", "gguf"}))
      ->required();
  verb->add_option("--out", options->out, "What to write")->required();
  verb =
      AddVerb(*group, invocation, "import",
              "Check somebody else's adapter and keep it as a PEFT directory",
              [options, &output] { return Import(*options, output); });
  AddInputs(*verb, *options);
  verb->add_option("--out", options->out, "Directory to write")->required();
  verb = AddVerb(*group, invocation, "merge",
                 "Write the base model with the adapter in its weights",
                 [options, &output] { return Merge(*options, output); });
  AddInputs(*verb, *options);
  verb->add_option("--to", options->to, "hf (Hugging Face directory) or gguf")
      ->check(CLI::IsMember({"hf", "gguf"}))
      ->required();
  verb->add_option("--type", options->type,
                   fmt::format("{}; of a GGUF also {}; default: the base's, "
                               "bf16 where that is quantised",
                               PlainTypeNames(), MixNames()));
  verb->add_option("--out", options->out, "What to write")->required();
  verb = AddVerb(*group, invocation, "inspect",
                 "Check an adapter against its base and show what it holds",
                 [options, &output] { return Inspect(*options, output); });
  AddInputs(*verb, *options);
}

}  // namespace edgetune
