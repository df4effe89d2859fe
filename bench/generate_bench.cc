// generate_bench MODEL TEXT [--engine fused] ...: tokens per second of reading
// a prompt and of greedy generation, from outside the engine, with an adapter
// (--adapter FILE) or without. --dump FOLDER writes instead the prompts and a
// llama.cpp adapter for the peer. Prints one JSON object.

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/process_memory.h"
#include "base/random.h"
#include "base/status.h"
#include "bench/arguments.h"
#include "bench/lora.h"
#include "bench/timing.h"
#include "models/io/adapter/adapter_file.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

using bench::Arguments;
using nlohmann::json;
using Prompts = std::vector<std::vector<int32_t>>;

// Of different beginnings, so that nothing of one is kept for the next; one
// more than runs, to warm up.
absl::StatusOr<Prompts> ReadPrompts(const Arguments& arguments,
                                    const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text,
                            ReadFile(arguments.words[1]));
  const std::vector<int32_t> ids = model.tokenizer().Encode(text, false);
  const auto length = static_cast<size_t>(arguments.Number("prompt"));
  const auto count = static_cast<size_t>(arguments.Number("runs")) + 1;
  if (ids.size() < length * count) {
    return absl::InvalidArgumentError(arguments.words[1] + " is too short");
  }
  Prompts prompts;
  for (auto at = ids.begin(); prompts.size() < count;
       at += static_cast<std::ptrdiff_t>(length)) {
    prompts.emplace_back(at, at + static_cast<std::ptrdiff_t>(length));
  }
  return prompts;
}

absl::Status Dump(const std::string& folder, const Prompts& prompts,
                  const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(Adapter adapter,
                            bench::InitialLora(model.config()));
  // B begins as zero, which a runtime might make use of.
  Random random(2);
  for (float& value : adapter.values) {
    if (value == 0) value = static_cast<float>(random.Uniform() - 0.5) / 100;
  }
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(folder));
  EDGETUNE_RETURN_IF_ERROR(
      WriteFileAtomically(folder + "/prompts.json", json(prompts).dump()));
  return WriteGgufAdapter(folder + "/adapter.gguf", adapter, model.config(),
                          "base");
}

absl::StatusOr<json> Measure(const Prompts& prompts, int64_t tokens,
                             LanguageModel& model) {
  GenerateOptions options;
  options.max_tokens = tokens;
  std::vector<double> first_s, prompt_rates, rates;
  for (const std::vector<int32_t>& prompt : prompts) {
    std::vector<double> times;
    const double start = bench::Now();
    const auto on_token = [&](int32_t) {
      times.push_back(bench::Now());
      return true;
    };
    EDGETUNE_RETURN_IF_ERROR(
        model.Generate(prompt, options, on_token).status());
    if (&prompt == &prompts.front()) continue;  // it warms up
    first_s.push_back(times.front() - start);
    prompt_rates.push_back(static_cast<double>(prompt.size()) / first_s.back());
    rates.push_back(static_cast<double>(times.size() - 1) /
                    (times.back() - times.front()));
  }
  return json{{"prompt_tokens_per_s", bench::Median(prompt_rates)},
              {"first_token_ms", bench::Median(first_s) * 1e3},
              {"tokens_per_s", bench::Median(rates)}};
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(const Arguments arguments,
                            bench::ParseArguments(argc, argv, 2,
                                                  {{"engine", "fused"},
                                                   {"precision", "auto"},
                                                   {"weights", "mapped"},
                                                   {"threads", "0"},
                                                   {"prompt", "256"},
                                                   {"tokens", "128"},
                                                   {"runs", "3"},
                                                   {"adapter", ""},
                                                   {"dump", ""}}));
  EDGETUNE_ASSIGN_OR_RETURN(auto opened, ModelFile::Open(arguments.words[0]));
  const std::shared_ptr<const ModelFile> file = std::move(opened);
  EDGETUNE_ASSIGN_OR_RETURN(const Prompts prompts,
                            ReadPrompts(arguments, *file));
  if (const std::string& folder = arguments.Text("dump"); !folder.empty()) {
    EDGETUNE_RETURN_IF_ERROR(Dump(folder, prompts, *file));
    std::cout << json{{"written", folder}} << "\n";
    return absl::OkStatus();
  }
  EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine,
                            LoadEngine(arguments.Text("engine")));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto model,
      engine->MakeLanguageModel(file, arguments.EngineChoice()));
  if (const std::string& path = arguments.Text("adapter"); !path.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(const Adapter adapter,
                              ReadAdapter(path, file->config()));
    EDGETUNE_RETURN_IF_ERROR(model->SetAdapter(&adapter));
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      json out, Measure(prompts, arguments.Number("tokens"), *model));
  out["peak_mb"] = bench::Megabytes(PeakResidentBytes());
  std::cout << out << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  edgetune::PrepareForEngines();
  return edgetune::bench::ExitCodeOf("generate_bench",
                                     edgetune::Run(argc, argv));
}
