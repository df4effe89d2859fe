#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "models/shrink/importance.h"
#include "models/shrink/shrink_plan.h"
#include "models/shrink/shrunk_model.h"
#include "models/shrink/small_vocabulary.h"
#include "models/shrink/sparse_model.h"
#include "tools/child_process.h"
#include "tools/model/base_files.h"
#include "tools/model/calibration.h"
#include "tools/model/model_path.h"
#include "tools/model/model_writing.h"
#include "tools/progress.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct PruneOptions {
  std::string model, out, to = "hf", type;
  std::optional<int64_t> layers, ffn, heads, vocab_size;
  std::optional<double> ffn_ratio, sparsity;
  std::string vocab, vocab_data, n_m, calibrate;
  int64_t calibration_tokens = 32768;
  bool by_layer = false, by_row = false;

  bool cuts() const {
    return layers || ffn || heads || ffn_ratio || !vocab.empty() || vocab_size;
  }
  bool thins() const { return sparsity || !n_m.empty(); }
};

// Reads under a title of its own, until Ctrl-C.
ReadProgress ReadingProgress(const Output& output, const std::string& title) {
  auto progress = std::make_shared<std::optional<Progress>>();
  return [&output, title, progress](uint64_t done, uint64_t total) {
    if (Interrupted()) return InterruptedError();
    if (!progress->has_value()) {
      progress->emplace(output, title, total, Progress::Unit::kCount);
    }
    (*progress)->Update(done);
    return absl::OkStatus();
  };
}

absl::StatusOr<std::vector<int32_t>> TokensToKeep(const PruneOptions& options,
                                                  const ModelFile& model) {
  if (options.vocab_size.has_value()) {
    EDGETUNE_ASSIGN_OR_RETURN(const std::vector<int64_t> counts,
                              CountTokens(options.vocab_data, model));
    auto used =
        MostUsedTokens(model.tokenizer().data(), model.config().end_tokens,
                       counts, *options.vocab_size);
    if (!used.ok()) return Prefix(used.status(), "--vocab-size");
    return used;
  }
  const auto text = ReadFile(options.vocab);
  if (!text.ok()) return Annotate(text.status(), ErrorKind::kUsage);
  auto listed = ParseTokenList(*text, model.tokenizer());
  if (!listed.ok()) return Prefix(listed.status(), options.vocab);
  return listed;
}

absl::StatusOr<ShrinkTarget> TargetOf(const PruneOptions& options,
                                      const ModelFile& model) {
  ShrinkTarget target = {options.layers, options.ffn, options.heads, {}};
  const int64_t ffn = model.config().ffn;
  if (options.ffn_ratio.has_value()) {
    const int64_t block = ffn % kSuperBlock == 0 ? kSuperBlock : kChannelBlock;
    EDGETUNE_ASSIGN_OR_RETURN(target.ffn,
                              ChannelsOfShare(ffn, *options.ffn_ratio, block));
  }
  if (!options.vocab.empty() || options.vocab_size.has_value()) {
    EDGETUNE_ASSIGN_OR_RETURN(target.tokens, TokensToKeep(options, model));
  }
  return target;
}

absl::StatusOr<Sparsity> SparsityOf(const PruneOptions& options) {
  Sparsity sparsity = {options.sparsity,
                       options.by_layer ? SparseScope::kMatrix
                       : options.by_row ? SparseScope::kRow
                                        : SparseScope::kModel,
                       std::nullopt};
  if (!options.n_m.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(sparsity.pattern, ParseNOfM(options.n_m));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckSparsity(sparsity));
  return sparsity;
}

// A block type rounds zeros to something else, or stores them like any value.
absl::Status CheckPruneOptions(const PruneOptions& options) {
  if (!options.cuts() && !options.thins()) {
    return UsageError("nothing is to be pruned",
                      "say how much stays: --layers, --ffn, --ffn-ratio, "
                      "--heads, --vocab, --vocab-size, --sparsity or --n-m");
  }
  if ((options.by_layer || options.by_row) && !options.sparsity.has_value()) {
    return UsageError("--by-layer and --by-row belong to --sparsity");
  }
  if (!options.thins() || !options.type.starts_with('q')) {
    return absl::OkStatus();
  }
  return UsageError(
      fmt::format("zeros do not stay zeros in blocks of {}", options.type),
      fmt::format("take {}", PlainTypeNames()));
}

// What llama.cpp cannot load is not written for it.
absl::Status CheckPrunedFormat(const PruneOptions& options,
                               const ModelConfig& result) {
  const bool fills = result.heads * result.head_dim == result.hidden;
  if (fills || options.to != "gguf" || result.architecture != "qwen2" ||
      !options.heads.has_value()) {
    return absl::OkStatus();
  }
  return UsageError(
      fmt::format("llama.cpp loads no qwen2 model with {} heads of {} over an "
                  "embedding of {}",
                  result.heads, result.head_dim, result.hidden),
      "write a directory (--to hf), or keep all heads");
}

uint64_t ParametersOf(const TensorSource& source) {
  uint64_t out = 0;
  for (const TensorInfo& info : source.tensors()) {
    out += static_cast<uint64_t>(info.rows() * info.columns());
  }
  return out;
}

// What the linears take as they are written, and would if zeros were left out.
nlohmann::json SparsityJson(const ModelConfig& config, const Sparsity& sparsity,
                            const TensorSource& source,
                            const TensorEncoder& encoder) {
  uint64_t bits = 0;
  for (const TensorInfo& info : source.tensors()) {
    if (!info.name.ends_with("mlp.down_proj.weight")) continue;
    bits = 8 * BlockShapeOf(encoder.TypeOf(info)).bytes;
  }
  const uint64_t values = SparseValuesOf(config);
  const uint64_t zeros = ZerosOf(config, sparsity);
  const uint64_t sparse = sparsity.pattern.has_value()
                              ? PatternBytes(values, *sparsity.pattern, bits)
                              : BitmapBytes(values, values - zeros, bits);
  return {{"linear_values", values},
          {"zeros", zeros},
          {"dense_bytes", values * bits / 8},
          {"sparse_bytes", sparse}};
}

nlohmann::json KeptJson(const KeptParts& kept, const ModelConfig& config) {
  nlohmann::json layers = nlohmann::json::array();
  for (const KeptLayer& layer : kept.layers) layers.push_back(layer.layer);
  return {{"layers", layers},
          {"ffn", config.ffn},
          {"heads", config.heads},
          {"kv_heads", config.kv_heads},
          {"vocabulary", config.vocab}};
}

// A model as it goes through the verb: whole, cut, thinned.
struct PrunedModel {
  std::shared_ptr<const ModelFile> whole;
  KeptParts kept;
  std::unique_ptr<ModelFile> cut, thinned;
  std::optional<Sparsity> sparsity;

  const ModelFile& result() const {
    if (thinned != nullptr) return *thinned;
    return cut != nullptr ? *cut : *whole;
  }
};

absl::StatusOr<ShrinkEvidence> Evidence(
    const PruneOptions& options, const Output& output,
    const std::shared_ptr<const ModelFile>& model) {
  if (options.calibrate.empty()) return ShrinkEvidence();
  return Calibrate(options.calibrate, options.calibration_tokens, model,
                   output);
}

absl::Status PruneModel(const PruneOptions& options, const Output& output,
                        PrunedModel* out) {
  if (options.thins()) {
    EDGETUNE_ASSIGN_OR_RETURN(out->sparsity, SparsityOf(options));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const ShrinkTarget target,
                            TargetOf(options, *out->whole));
  EDGETUNE_ASSIGN_OR_RETURN(const ShrinkEvidence evidence,
                            Evidence(options, output, out->whole));
  EDGETUNE_ASSIGN_OR_RETURN(
      out->kept, ChooseParts(*out->whole, target, evidence,
                             ReadingProgress(output, "scoring weights")));
  if (options.cuts()) {
    EDGETUNE_ASSIGN_OR_RETURN(out->cut,
                              MakeShrunkModel(*out->whole, out->kept));
  }
  if (!out->sparsity.has_value()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(
      out->thinned,
      MakeSparseModel(
          out->result(), *out->sparsity,
          NormsOfKept(out->whole->config(), out->kept, evidence.norms),
          ReadingProgress(output, "looking for thresholds")));
  return absl::OkStatus();
}

std::string PruneTable(const PruneOptions& options, const nlohmann::json& data,
                       const ModelConfig& before, const ModelConfig& after,
                       const WrittenModel& written) {
  const auto change = [](int64_t from, int64_t to) {
    return from == to ? fmt::format("{}", from)
                      : fmt::format("{} of {}", to, from);
  };
  std::vector<std::vector<std::string>> rows = {
      {"model", options.out},
      {"layers", change(before.layers, after.layers)},
      {"ffn", change(before.ffn, after.ffn)},
      {"heads", change(before.heads, after.heads)},
      {"vocabulary", change(before.vocab, after.vocab)},
      {"parameters", change(data["source_parameters"], data["parameters"])}};
  if (data.contains("sparsity")) {
    const nlohmann::json& sparse = data["sparsity"];
    rows.push_back(
        {"zeros",
         fmt::format("{} of {} in linears", sparse["zeros"].get<uint64_t>(),
                     sparse["linear_values"].get<uint64_t>())});
    rows.push_back(
        {"linears", fmt::format("{}; sparse they would take {}",
                                FormatBytes(sparse["dense_bytes"]),
                                FormatBytes(sparse["sparse_bytes"]))});
  }
  rows.push_back({"size", FormatBytes(written.bytes)});
  rows.push_back({"took", fmt::format("{:.1f} s", written.seconds)});
  return FormatTable(rows);
}

std::string ProvenanceText(const PruneOptions& options, nlohmann::json data) {
  data["made_by"] = "edgetune prune " EDGETUNE_VERSION;
  data["base"] = ModelDisplayName(options.model);
  return data.dump(2) + "\n";
}

absl::Status Prune(const PruneOptions& options, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckPruneOptions(options));
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  CatchInterrupts();
  PrunedModel pruned;
  EDGETUNE_ASSIGN_OR_RETURN(pruned.whole, OpenModel(options.model));
  EDGETUNE_RETURN_IF_ERROR(PruneModel(options, output, &pruned));
  const ModelFile& result = pruned.result();
  EDGETUNE_RETURN_IF_ERROR(CheckPrunedFormat(options, result.config()));
  ModelTarget target = {options.out, ModelFormatOf(options.to)};
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto encoder,
      MakeEncoder(options.type, target.format, result, result.config()));
  EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                            ResolveModel(options.model));
  EDGETUNE_ASSIGN_OR_RETURN(const auto parts, BasePartsOf(path));
  nlohmann::json data = {{"format", options.to},
                         {"source_digest", ToHex(BaseDigest(parts))},
                         {"parameters", ParametersOf(result)},
                         {"source_parameters", ParametersOf(*pruned.whole)},
                         {"kept", KeptJson(pruned.kept, result.config())}};
  if (pruned.sparsity.has_value()) {
    data["sparsity"] =
        SparsityJson(result.config(), *pruned.sparsity, result, *encoder);
  }
  target.provenance = ProvenanceText(options, data);
  EDGETUNE_ASSIGN_OR_RETURN(
      const WrittenModel written,
      WriteModel(target, DescriptionOf(result), result, *encoder, output));
  data["path"] = options.out;
  data["bytes"] = written.bytes;
  data["digest"] = written.digest;
  data["seconds"] = written.seconds;
  return output.Finish(
      data, output.quiet ? options.out
                         : PruneTable(options, data, pruned.whole->config(),
                                      result.config(), written));
}

}  // namespace

void AddPruneVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<PruneOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "prune",
              "Write a model without the parts whose weights are smallest",
              [options, &output] { return Prune(*options, output); });
  verb->add_option("model", options->model,
                   "Name in the cache, GGUF file or Hugging Face directory")
      ->required();
  verb->add_option("--out", options->out, "What to write")->required();
  verb->add_option("--to", options->to, "hf (directory) or gguf (file)")
      ->check(CLI::IsMember({"hf", "gguf"}))
      ->capture_default_str();
  verb->add_option("--type", options->type,
                   fmt::format("{}; in a GGUF also {} (default: as the model "
                               "has it; bf16 where it is quantised)",
                               PlainTypeNames(), MixNames()));
  verb->add_option("--layers", options->layers, "So many layers stay");
  auto* ffn = verb->add_option(
      "--ffn", options->ffn,
      fmt::format("So many feed-forward channels stay in every layer, a "
                  "multiple of {} ({} for k-quants)",
                  kChannelBlock, kSuperBlock));
  verb->add_option("--ffn-ratio", options->ffn_ratio,
                   "This share of them stays, to the nearest such multiple")
      ->excludes(ffn);
  verb->add_option("--heads", options->heads,
                   "So many query heads stay, whole groups of them");
  auto* vocab = verb->add_option(
      "--vocab", options->vocab,
      "File of the tokens that stay, one a line as tokenizer.json "
      "writes them; bytes and special tokens always stay");
  auto* vocab_size = verb->add_option(
      "--vocab-size", options->vocab_size,
      "At most so many tokens stay: those that --vocab-data uses most");
  auto* vocab_data = verb->add_option("--vocab-data", options->vocab_data,
                                      "Examples (JSONL) whose tokens count");
  vocab_size->excludes(vocab)->needs(vocab_data);
  vocab_data->needs(vocab_size);
  auto* calibrate = verb->add_option(
      "--calibrate", options->calibrate,
      "Examples (JSONL) that say what inputs the weights meet: of equal "
      "weights those with small inputs go first, and layers that change "
      "little");
  verb->add_option("--calibration-tokens", options->calibration_tokens,
                   "So many tokens of them, from the first on")
      ->check(CLI::PositiveNumber)
      ->needs(calibrate)
      ->capture_default_str();
  auto* sparsity = verb->add_option("--sparsity", options->sparsity,
                                    "This share of the linears' weights "
                                    "becomes zero, the smallest of the model");
  auto* by_layer =
      verb->add_flag("--by-layer", options->by_layer,
                     "The smallest of each weight matrix, not of the model");
  verb->add_flag("--by-row", options->by_row,
                 "The smallest of each row of a matrix")
      ->excludes(by_layer);
  verb->add_option("--n-m", options->n_m,
                   "N of every M weights of a row stay (2:4), the others "
                   "become zero")
      ->excludes(sparsity);
}

}  // namespace edgetune
