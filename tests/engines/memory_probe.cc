// memory_probe MODEL PRECISION mapped|copied keep|recompute MICRO-BATCH
// THREADS RANK HELD-OUT LENGTH...: trains one step of a batch for every eight
// lengths with the fused engine, in a process that does nothing else. Prints
// what was predicted and what the kernel measured, in bytes.

#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/process_memory.h"
#include "base/random.h"
#include "base/status.h"
#include "training/engine_loader.h"
#include "training/memory_prediction.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

constexpr int64_t kBatch = 8;

// Examples of random tokens, all but the first labelled.
class Examples final : public ExampleSource {
 public:
  Examples(const std::vector<int64_t>& lengths, int64_t vocab) {
    Random random(1);
    for (const int64_t length : lengths) {
      LabelledTokens example;
      for (int64_t i = 0; i < length; ++i) {
        example.tokens.push_back(
            static_cast<int32_t>(random.Below(static_cast<uint64_t>(vocab))));
      }
      example.labelled.assign(example.tokens.size(), 1);
      all_.push_back(std::move(example));
    }
  }
  int64_t size() const override { return static_cast<int64_t>(all_.size()); }
  const LabelledTokens& Get(int64_t index) const override {
    return all_[static_cast<size_t>(index)];
  }

 private:
  std::vector<LabelledTokens> all_;
};

struct Setup {
  std::shared_ptr<const ModelFile> model;
  EngineOptions engine;
  TrainConfig train;
  Adapter adapter;
  int64_t held_out = 0;
  std::vector<int64_t> lengths;
};

absl::StatusOr<Setup> ReadArguments(const std::vector<std::string>& words) {
  if (words.size() < 9) return absl::InvalidArgumentError("see the source");
  Setup setup;
  EDGETUNE_ASSIGN_OR_RETURN(setup.model, ModelFile::Open(words[0]));
  setup.engine.precision =
      words[1] == "bf16" ? Precision::kBf16 : Precision::kFp32;
  setup.engine.weights =
      words[2] == "copied" ? WeightMemory::kCopied : WeightMemory::kMapped;
  setup.engine.recompute = words[3] == "recompute";
  setup.engine.threads = std::stoi(words[5]);
  setup.train.batch = kBatch;
  setup.train.micro_batch = std::stoi(words[4]);
  setup.adapter.spec = {
      .rank = std::stoi(words[6]),
      .alpha = 16,
      .targets = {LoraTargets().begin(), LoraTargets().end()}};
  EDGETUNE_ASSIGN_OR_RETURN(
      setup.adapter.layout,
      AdapterLayoutOf(setup.model->config(), setup.adapter.spec));
  setup.adapter.values = InitialAdapter(setup.adapter.layout, 1);
  setup.held_out = std::stoi(words[7]);
  for (size_t i = 8; i < words.size(); ++i) {
    setup.lengths.push_back(std::stoi(words[i]));
  }
  setup.train.steps = static_cast<int64_t>(setup.lengths.size()) / kBatch;
  return setup;
}

MemoryWork WorkOf(const Setup& setup, const Examples& examples) {
  MemoryWork work;
  work.model = setup.model->config();
  work.tensors = setup.model->tensors();
  work.bf16 = setup.engine.precision == Precision::kBf16;
  work.threads = setup.engine.threads;
  work.lora = setup.adapter.spec;
  work.trained = static_cast<int64_t>(setup.adapter.layout.size());
  const auto size_of = [&](int64_t i) {
    const int64_t tokens = setup.lengths[static_cast<size_t>(i)];
    return ExampleSize{tokens, tokens - 1};
  };
  ExampleOrder order(setup.train.seed, examples.size());
  for (int64_t step = 0; step < setup.train.steps; ++step) {
    work.steps.emplace_back();
    for (const int64_t i : order.Batch(setup.train, step)) {
      work.steps.back().push_back(size_of(i));
    }
  }
  for (int64_t i = 0; i < setup.held_out; ++i) {
    work.held_out.push_back(size_of(i));
  }
  work.resident = ResidentBytes();
  return work;
}

absl::Status Run(const std::vector<std::string>& words) {
  PrepareForEngines();
  EDGETUNE_ASSIGN_OR_RETURN(const Setup setup, ReadArguments(words));
  const Examples examples(setup.lengths, setup.model->config().vocab);
  EDGETUNE_ASSIGN_OR_RETURN(Engine * engine, LoadEngine("fused"));
  const MemoryWork work = WorkOf(setup, examples);
  const MemoryChoice choice = {.weights = setup.engine.weights,
                               .recompute = setup.engine.recompute,
                               .micro_batch = setup.train.micro_batch};
  const MemoryPrediction prediction = PredictMemory(work, choice);
  EDGETUNE_ASSIGN_OR_RETURN(auto trainer,
                            engine->MakeTrainer(setup.model, setup.engine));
  const StopToken stop{false};
  if (setup.held_out > 0) {
    EDGETUNE_RETURN_IF_ERROR(
        trainer->Evaluate(setup.adapter, examples, setup.held_out, stop)
            .status());
  }
  EDGETUNE_RETURN_IF_ERROR(
      trainer->Train(setup.adapter, examples, setup.train, nullptr, stop, {})
          .status());
  for (const MemoryPart& part : prediction.parts) {
    std::cerr << part.bytes / 1e6 << " MB " << part.name << "\n";
  }
  std::cout << prediction.peak << " " << PeakResidentBytes() << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  const absl::Status status = edgetune::Run({argv + 1, argv + argc});
  if (status.ok()) return 0;
  std::cerr << status.ToString() << "\n";
  return 1;
}
