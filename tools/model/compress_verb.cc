#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/atomic_directory.h"
#include "base/status.h"
#include "base/units.h"
#include "models/io/quantise/quantising_encoder.h"
#include "tools/child_process.h"
#include "tools/model/frontier.h"
#include "tools/model/model_path.h"
#include "tools/own_process.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// Who has levels, and so can be rounded by examples (--calibrate).
constexpr std::string_view kLevelMixes[] = {"q8_0", "q5_1", "q5_0", "q4_1",
                                            "q4_0"};

struct CompressOptions {
  std::string model, data, calibrate, out, target_size;
  std::vector<int64_t> layers;
  std::vector<std::string> types = {"q8_0", "q5_1", "q4_k_m", "q4_1", "q4_0"};
  std::optional<double> target_latency;  // milliseconds a token
  int64_t prompt = 64, tokens = 16, threads = 0;
};

// One way: what is cut, and how the rest is stored.
struct Candidate {
  int64_t layers = 0;  // 0: all
  std::string type;
  bool by_examples = false;

  std::string Name() const {
    return fmt::format("{}{}{}",
                       layers > 0 ? fmt::format("{} layers, ", layers) : "",
                       type, by_examples ? " by examples" : "");
  }
  std::string File() const {
    return fmt::format("{}{}{}.gguf",
                       layers > 0 ? fmt::format("{}-layers-", layers) : "",
                       type, by_examples ? "-by-examples" : "");
  }
};

// Runs this program for each step, so that a model's memory and time are those
// of a process of its own.
class Compression {
 public:
  Compression(const CompressOptions& options, const Output& output)
      : options_(options), output_(output) {}

  absl::Status Run() {
    EDGETUNE_RETURN_IF_ERROR(ReadTarget());
    EDGETUNE_RETURN_IF_ERROR(CheckNew(options_.out));
    EDGETUNE_ASSIGN_OR_RETURN(const auto model, OpenModel(options_.model));
    EDGETUNE_RETURN_IF_ERROR(CheckOptions(model->config()));
    CatchInterrupts();
    EDGETUNE_ASSIGN_OR_RETURN(out_, AtomicDirectory::Create(options_.out));
    const std::vector<Candidate> candidates = Candidates();
    for (size_t i = 0; i < candidates.size(); ++i) {
      output_.Note(fmt::format("{} of {}: {}", i + 1, candidates.size(),
                               candidates[i].Name()));
      EDGETUNE_RETURN_IF_ERROR(Try(candidates[i]));
    }
    MarkFrontier(models_);
    return Write();
  }

 private:
  absl::Status ReadTarget() {
    if (options_.target_latency) {
      target_.token = *options_.target_latency / 1e3;
    }
    if (options_.target_size.empty()) return absl::OkStatus();
    target_.bytes = ParseBytes(options_.target_size);
    if (target_.bytes) return absl::OkStatus();
    return UsageError(fmt::format("--target-size {}: wanted a size like 60MB",
                                  options_.target_size));
  }

  absl::Status CheckOptions(const ModelConfig& config) const {
    for (const std::string& type : options_.types) {
      const auto mixes = QuantisationMixes();
      if (type == "f16" ||
          std::ranges::find(mixes, type, &QuantisationMix::name) !=
              mixes.end()) {
        continue;
      }
      return UsageError(fmt::format("--types: there is no mix {}", type),
                        "f16, or those of edgetune model quantize --help");
    }
    for (const int64_t layers : options_.layers) {
      if (layers >= 1 && layers <= config.layers) continue;
      return UsageError(
          fmt::format("--layers {}: the model has {}", layers, config.layers));
    }
    return absl::OkStatus();
  }

  std::vector<Candidate> Candidates() const {
    std::vector<int64_t> layers = options_.layers;
    if (layers.empty()) layers = {0};
    std::vector<Candidate> out;
    for (const int64_t count : layers) {
      for (const std::string& type : options_.types) {
        const bool levels =
            std::ranges::find(kLevelMixes, type) != std::end(kLevelMixes);
        out.push_back({count, type, levels && !options_.calibrate.empty()});
      }
    }
    return out;
  }

  absl::Status Try(const Candidate& candidate) {
    EDGETUNE_ASSIGN_OR_RETURN(const std::string source, Cut(candidate.layers));
    CompressedModel model = {.name = candidate.Name(),
                             .file = candidate.File()};
    const std::string path = out_->PathOf(model.file);
    std::vector<std::string> write = {
        "model", "quantize", source, "--to", candidate.type, "--out", path};
    if (candidate.type == "f16") {
      write = {"model",  "export", source,  "--to", "gguf",
               "--type", "f16",    "--out", path};
    } else if (candidate.by_examples) {
      write.insert(write.end(), {"--calibrate", options_.calibrate});
    }
    EDGETUNE_RETURN_IF_ERROR(AskThisProgram(write).status());
    EDGETUNE_ASSIGN_OR_RETURN(
        const nlohmann::json scored,
        AskThisProgram({"eval", "--model", path, "--data", options_.data,
                        "--threads", fmt::format("{}", options_.threads)}));
    EDGETUNE_ASSIGN_OR_RETURN(
        const nlohmann::json timed,
        AskThisProgram({"bench", "latency", "--model", path, "--prompts",
                        fmt::format("{}", options_.prompt), "--tokens",
                        fmt::format("{}", options_.tokens), "--repeat", "3",
                        "--threads", fmt::format("{}", options_.threads)}));
    const nlohmann::json& times = timed["prompts"][0];
    std::error_code error;
    model.bytes = fs::file_size(path, error);
    model.perplexity = scored["perplexity"];
    model.first_token = times["first_token_s"];
    model.token = times["token_p50_s"];
    model.peak_memory = times["peak_resident_bytes"];
    models_.push_back(std::move(model));
    return absl::OkStatus();
  }

  // The model with so many layers as a file of its own, made once.
  absl::StatusOr<std::string> Cut(int64_t layers) {
    if (layers == 0) return options_.model;
    if (layers == cut_layers_) return cut_->path() + "/cut.gguf";
    EDGETUNE_ASSIGN_OR_RETURN(
        cut_, TemporaryDirectory::Make(
                  fs::path(out_->PathOf("x")).parent_path().string(), ".cut-"));
    const std::string path = cut_->path() + "/cut.gguf";
    std::vector<std::string> prune = {
        "prune", options_.model, "--to",     "gguf",
        "--out", path,           "--layers", fmt::format("{}", layers)};
    if (!options_.calibrate.empty()) {
      prune.insert(prune.end(), {"--calibrate", options_.calibrate});
    }
    EDGETUNE_RETURN_IF_ERROR(AskThisProgram(prune).status());
    cut_layers_ = layers;
    return path;
  }

  absl::Status Write() {
    const bool aims = target_.bytes || target_.token;
    const CompressedModel* best = aims ? BestWithin(models_, target_) : nullptr;
    for (const CompressedModel& model : models_) {
      if (best == nullptr ? model.on_frontier : &model == best) continue;
      std::error_code error;
      fs::remove(out_->PathOf(model.file), error);
    }
    cut_.reset();
    nlohmann::json data = {{"path", options_.out},
                           {"models", FrontierJson(models_)},
                           {"best", nullptr}};
    if (best != nullptr) data["best"] = best->file;
    EDGETUNE_RETURN_IF_ERROR(out_->Write("frontier.json", data.dump(2) + "\n"));
    EDGETUNE_RETURN_IF_ERROR(out_->Write("frontier.svg", FrontierSvg(models_)));
    EDGETUNE_RETURN_IF_ERROR(out_->Commit());
    std::string text = FrontierTable(models_);
    if (best != nullptr) {
      text += fmt::format("\nbest within the target: {}/{}\n", options_.out,
                          best->file);
    } else if (aims) {
      text += "\nno model meets the target: the frontier's are kept\n";
    }
    return output_.Finish(data, output_.quiet ? options_.out : text);
  }

  const CompressOptions& options_;
  const Output& output_;
  CompressionTarget target_;
  std::unique_ptr<AtomicDirectory> out_;
  std::unique_ptr<TemporaryDirectory> cut_;
  int64_t cut_layers_ = 0;
  std::vector<CompressedModel> models_;
};

}  // namespace

void AddCompressVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<CompressOptions>();
  CLI::App* verb = AddVerb(
      app, invocation, "compress",
      "Try ways to make a model smaller: size, perplexity, time, memory",
      [options, &output] { return Compression(*options, output).Run(); });
  verb->add_option("model", options->model,
                   "Name in the cache, GGUF file or Hugging Face directory")
      ->required();
  verb->add_option("--data", options->data,
                   "Held-out examples (JSONL) that perplexity is measured on")
      ->required();
  verb->add_option("--calibrate", options->calibrate,
                   "Other examples, by which layers are cut and weights "
                   "rounded");
  verb->add_option("--out", options->out, "Directory to write")->required();
  verb->add_option("--types", options->types,
                   "f16 and mixes of model quantize, with commas")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--layers", options->layers,
                   "Numbers of layers, with commas (default: all there are)")
      ->delimiter(',');
  verb->add_option("--target-size", options->target_size,
                   "60MB: keep the best that is no larger");
  verb->add_option("--target-latency", options->target_latency,
                   "Milliseconds: keep the best that takes no longer for a "
                   "token")
      ->check(CLI::PositiveNumber);
  verb->add_option("--prompt", options->prompt, "Tokens before an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--tokens", options->tokens, "Tokens of an answer")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  verb->add_option("--threads", options->threads,
                   "0: OMP_NUM_THREADS, or all cores")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace edgetune
