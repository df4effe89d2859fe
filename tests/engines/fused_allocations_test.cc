// A training step of the fused engine works in memory that is there already:
// once its shapes have been seen nothing grows, and all that is allocated, but
// for what oneDNN does within a product, are the lists that the loop around
// every engine makes of a batch.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/fused/cpu.h"
#include "tests/engines/allocation_counter.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"
#include "training/fused/fused_trainer.h"

namespace edgetune {
namespace {

using testing::Allocations;
using testing::CountAllocations;
using testing::ListSource;

constexpr int64_t kSteps = 8;
constexpr int64_t kBatch = 6;

// As many examples as a batch has: every step sees all, in another order.
ListSource Examples(const std::vector<size_t>& lengths) {
  std::vector<LabelledTokens> examples;
  for (const size_t length : lengths) {
    LabelledTokens example;
    for (size_t i = 0; i < length; ++i) {
      example.tokens.push_back(static_cast<int32_t>(3 + (7 * i) % 256));
      example.labelled.push_back(i % 3 == 0 ? 0 : 1);
    }
    examples.push_back(std::move(example));
  }
  return ListSource(std::move(examples));
}

Adapter MakeAdapter(const ModelConfig& model) {
  Adapter adapter;
  adapter.spec.targets.assign(LoraTargets().begin(), LoraTargets().end());
  adapter.spec.rank = 4;
  adapter.spec.alpha = 8;
  adapter.layout = *AdapterLayoutOf(model, adapter.spec);
  adapter.values.assign(adapter.layout.size(), 0.01f);
  return adapter;
}

struct Counts {
  std::vector<Allocations> ends;  // when each step had ended
  std::string callers;            // of the last step
};

Counts CountSteps(const ListSource& examples, TrainConfig config,
                  Precision precision, int threads) {
  const testing::ScratchDirectory scratch;
  const std::string path = scratch.File("model.gguf");
  EXPECT_TRUE(testing::WriteTinyModel(path).ok());
  const std::shared_ptr<const ModelFile> model = *ModelFile::Open(path);
  const auto trainer =
      *FusedTrainer::Make(model, {.precision = precision, .threads = threads});
  Counts counts;
  counts.ends.reserve(kSteps);
  config.steps = kSteps;
  config.batch = kBatch;
  const StopToken stop{false};
  const auto result =
      trainer->Train(MakeAdapter(model->config()), examples, config, nullptr,
                     stop, [&](const TrainProgress& progress) {
                       counts.ends.push_back(CountAllocations());
                       if (progress.step < kSteps) return;
                       counts.callers = testing::LastCallers(8);
                     });
  EXPECT_TRUE(result.ok()) << result.status();
  return counts;
}

// The loop makes two lists a step: the positions of its examples and the
// examples themselves.
constexpr int64_t kLists = 2;

void ExpectNothingNew(const Counts& counts) {
  const auto& ends = counts.ends;
  ASSERT_EQ(ends.size(), kSteps);
  for (size_t step = 2; step < ends.size(); ++step) {
    const Allocations &before = ends[step - 1], &after = ends[step];
    const int64_t made = after.others - before.others;
    EXPECT_LE(after.live, before.live) << "step " << step;
    EXPECT_EQ(made, kLists) << "step " << step << "\n" << counts.callers;
    // That what products allocate is not taken for ours.
    EXPECT_GT(after.libraries, before.libraries);
  }
}

TEST(FusedAllocationsTest, AllocationsAreCounted) {
  const Allocations before = CountAllocations();
  const auto data = std::make_unique<std::vector<char>>(1000);
  const Allocations after = CountAllocations();
  EXPECT_EQ(after.others - before.others, 2) << testing::LastCallers(8);
  EXPECT_EQ(after.libraries, before.libraries);
  EXPECT_GE(after.live - before.live, 1000);
}

TEST(FusedAllocationsTest, AStepOfEqualLengthsWorksInMemoryThatIsThere) {
  ExpectNothingNew(CountSteps(Examples({64, 64, 64, 64, 64, 64}),
                              {.micro_batch = 2}, Precision::kFp32, 1));
}

// All in one micro-batch, whose sum of lengths stays the same; and each of two
// threads has one of two key/value heads, so that it meets every length at
// once.
TEST(FusedAllocationsTest, AStepOfRaggedLengthsWorksInMemoryThatIsThere) {
  ExpectNothingNew(CountSteps(Examples({5, 70, 33, 130, 16, 18}),
                              {.micro_batch = kBatch}, Precision::kFp32, 2));
}

TEST(FusedAllocationsTest, AStepOfOneFactorInBf16WorksInMemoryThatIsThere) {
  const auto precision =
      fused::CpuCanMultiplyBf16() ? Precision::kBf16 : Precision::kFp32;
  ExpectNothingNew(CountSteps(Examples({64, 64, 64, 64, 64, 64}),
                              {.micro_batch = 3, .factors = Factors::kB},
                              precision, 2));
}

}  // namespace
}  // namespace edgetune
