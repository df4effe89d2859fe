// train_bench MODEL DATA [--engine fused] ...: tokens per second of LoRA
// training, timed from outside the engine. DATA is a .txt file, cut into
// examples of --length tokens (or of 16 to --length with --shape ragged), or a
// .jsonl file of instructions. --held-out N keeps N examples aside and gives
// their loss before and after. --profile 1 tells where the time of a step went.
// --dump FOLDER writes the examples in the order of the steps and the initial
// adapter, for the peers. Prints one JSON object.

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
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
#include "training/schedule.h"
#include "training/text_data_set.h"

namespace edgetune {
namespace {

using bench::Arguments;
using nlohmann::json;

constexpr int64_t kShortest = 16;  // tokens of a ragged example

class Examples final : public ExampleSource {
 public:
  explicit Examples(std::vector<LabelledTokens> all) : all_(std::move(all)) {}
  int64_t size() const override { return static_cast<int64_t>(all_.size()); }
  const LabelledTokens& Get(int64_t index) const override {
    return all_[static_cast<size_t>(index)];
  }

 private:
  const std::vector<LabelledTokens> all_;
};

struct Data {
  Examples train, held_out;
};

// The first 16 to all tokens of each, drawn evenly.
void MakeRagged(std::vector<LabelledTokens>& examples) {
  Random random(1);
  for (LabelledTokens& example : examples) {
    const auto spare = static_cast<uint64_t>(
        static_cast<int64_t>(example.tokens.size()) - kShortest + 1);
    const size_t length = kShortest + random.Below(spare);
    example.tokens.resize(length);
    example.labelled.resize(length);
  }
}

absl::StatusOr<Data> ReadData(const Arguments& arguments,
                              const ModelFile& model) {
  const std::string& path = arguments.words[1];
  const auto length = static_cast<size_t>(arguments.Number("length"));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto set,
      ReadTextDataSet(path, model, {.max_length = arguments.Number("length")}));
  std::vector<LabelledTokens> all;
  for (int64_t i = 0; i < set->size(); ++i) {
    // The last block of a text is shorter than the rest.
    if (path.ends_with(".txt") && set->Get(i).tokens.size() < length) continue;
    all.push_back(set->Get(i));
  }
  Random(1).Shuffle(all);
  if (arguments.Text("shape") == "ragged") MakeRagged(all);
  const auto held = static_cast<size_t>(arguments.Number("held-out"));
  if (all.size() <= held) {
    return absl::InvalidArgumentError(path + " is too short");
  }
  const auto split = all.end() - static_cast<std::ptrdiff_t>(held);
  return Data{Examples({all.begin(), split}), Examples({split, all.end()})};
}

TrainConfig ConfigOf(const Arguments& arguments) {
  return {.lr = 2e-4,
          .steps = arguments.Number("warmup") +
                   arguments.Number("windows") * arguments.Number("steps"),
          .batch = arguments.Number("batch"),
          .micro_batch = arguments.Number("micro-batch"),
          .profile = arguments.Number("profile") > 0};
}

json ToJson(const LabelledTokens& example) {
  return {{"tokens", example.tokens}, {"labelled", example.labelled}};
}

// What a peer needs to do the same work.
absl::Status Dump(const std::string& folder, const Data& data,
                  const Adapter& adapter, const TrainConfig& config) {
  json steps = json::array(), held_out = json::array();
  ExampleOrder order(config.seed, data.train.size());
  for (int64_t step = 0; step < config.steps; ++step) {
    json batch = json::array();
    for (const int64_t i : order.Batch(config, step)) {
      batch.push_back(ToJson(data.train.Get(i)));
    }
    steps.push_back(std::move(batch));
  }
  for (int64_t i = 0; i < data.held_out.size(); ++i) {
    held_out.push_back(ToJson(data.held_out.Get(i)));
  }
  const json all = {
      {"rank", adapter.spec.rank},       {"alpha", adapter.spec.alpha},
      {"targets", adapter.spec.targets}, {"lr", config.lr},
      {"grad_clip", config.grad_clip},   {"micro_batch", config.micro_batch},
      {"steps", std::move(steps)},       {"held_out", std::move(held_out)}};
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(folder));
  EDGETUNE_RETURN_IF_ERROR(
      WriteFileAtomically(folder + "/work.json", all.dump()));
  const std::string_view values(
      reinterpret_cast<const char*>(adapter.values.data()),
      adapter.values.size() * sizeof(float));
  return WriteFileAtomically(folder + "/adapter.f32", values);
}

// Tokens per second of every window of `steps` steps after the warm-up; `ends`
// holds when each step ended, `tokens` how many it saw.
std::vector<double> Rates(const Arguments& arguments,
                          const std::vector<double>& ends,
                          const std::vector<int64_t>& tokens) {
  std::vector<double> rates;
  const auto width = static_cast<size_t>(arguments.Number("steps"));
  auto begin = static_cast<size_t>(arguments.Number("warmup"));
  for (; begin + width < ends.size(); begin += width) {
    int64_t sum = 0;
    for (size_t i = begin; i < begin + width; ++i) sum += tokens[i];
    rates.push_back(static_cast<double>(sum) /
                    (ends[begin + width] - ends[begin]));
  }
  std::sort(rates.begin(), rates.end());
  return rates;
}

absl::StatusOr<json> HeldOut(Trainer& trainer, const Adapter& adapter,
                             const Examples& examples) {
  if (examples.size() == 0) return json();
  const StopToken stop{false};
  EDGETUNE_ASSIGN_OR_RETURN(const Evaluation score,
                            trainer.Evaluate(adapter, examples, 0, stop));
  return json(score.nll_sum / static_cast<double>(score.tokens));
}

// Milliseconds a step, warm-up and kernels made in it included.
json ToJson(const StepProfile& profile, int64_t steps) {
  json out;
  for (size_t i = 0; i < profile.size(); ++i) {
    out[kStepPartNames[i]] =
        1e3 * profile[i].seconds / static_cast<double>(steps);
  }
  return out;
}

// Trains; fills in what was measured.
absl::Status Measure(const Arguments& arguments, const Data& data,
                     Adapter adapter, Trainer& trainer, json& out) {
  const TrainConfig config = ConfigOf(arguments);
  std::vector<int64_t> tokens;
  ExampleOrder order(config.seed, data.train.size());
  for (int64_t step = 0; step < config.steps; ++step) {
    int64_t sum = 0;
    for (const int64_t i : order.Batch(config, step)) {
      sum += static_cast<int64_t>(data.train.Get(i).tokens.size());
    }
    tokens.push_back(sum);
  }
  EDGETUNE_ASSIGN_OR_RETURN(out["held_out_before"],
                            HeldOut(trainer, adapter, data.held_out));
  std::vector<double> ends = {bench::Now()}, losses;
  const StopToken stop{false};
  EDGETUNE_ASSIGN_OR_RETURN(
      const TrainResult result,
      trainer.Train(adapter, data.train, config, nullptr, stop,
                    [&](const TrainProgress& progress) {
                      ends.push_back(bench::Now());
                      losses.push_back(progress.loss);
                    }));
  const std::vector<double> rates = Rates(arguments, ends, tokens);
  if (rates.empty()) return absl::InvalidArgumentError("no window of steps");
  out["tokens_per_s"] = {{"median", rates[rates.size() / 2]},
                         {"min", rates.front()},
                         {"max", rates.back()}};
  out["tokens"] = result.tokens;
  if (result.profile) {
    out["profile_ms"] = ToJson(*result.profile, result.steps);
  }
  out["loss_first"] = losses.front();
  out["loss_last"] = losses.back();
  out["peak_mb"] = bench::Megabytes(PeakResidentBytes());
  for (size_t i = 0; i < adapter.values.size(); ++i) {
    adapter.values[i] += result.delta[i];
  }
  EDGETUNE_ASSIGN_OR_RETURN(out["held_out_after"],
                            HeldOut(trainer, adapter, data.held_out));
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(const Arguments arguments,
                            bench::ParseArguments(argc, argv, 2,
                                                  {{"engine", "fused"},
                                                   {"precision", "auto"},
                                                   {"weights", "mapped"},
                                                   {"recompute", "no"},
                                                   {"threads", "0"},
                                                   {"length", "256"},
                                                   {"shape", "packed"},
                                                   {"batch", "4"},
                                                   {"micro-batch", "4"},
                                                   {"warmup", "3"},
                                                   {"windows", "5"},
                                                   {"steps", "10"},
                                                   {"held-out", "0"},
                                                   {"profile", "0"},
                                                   {"dump", ""}}));
  EDGETUNE_ASSIGN_OR_RETURN(auto opened, ModelFile::Open(arguments.words[0]));
  const std::shared_ptr<const ModelFile> model = std::move(opened);
  EDGETUNE_ASSIGN_OR_RETURN(const Data data, ReadData(arguments, *model));
  EDGETUNE_ASSIGN_OR_RETURN(const Adapter adapter,
                            bench::InitialLora(model->config()));
  if (const std::string& folder = arguments.Text("dump"); !folder.empty()) {
    EDGETUNE_RETURN_IF_ERROR(Dump(folder, data, adapter, ConfigOf(arguments)));
    std::cout << json{{"written", folder}} << "\n";
    return absl::OkStatus();
  }
  const double start = bench::Now();
  EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine,
                            LoadEngine(arguments.Text("engine")));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto trainer, engine->MakeTrainer(model, arguments.EngineChoice()));
  json out = {{"engine", arguments.Text("engine")},
              {"precision", trainer->precision()},
              {"threads", arguments.Number("threads")},
              {"micro_batch", arguments.Number("micro-batch")},
              {"weights", arguments.Text("weights")},
              {"recompute", arguments.Text("recompute")},
              {"load_s", bench::Now() - start},
              {"rss_after_load_mb", bench::Megabytes(ResidentBytes())}};
  EDGETUNE_RETURN_IF_ERROR(Measure(arguments, data, adapter, *trainer, out));
  std::cout << out << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  edgetune::PrepareForEngines();
  return edgetune::bench::ExitCodeOf("train_bench", edgetune::Run(argc, argv));
}
