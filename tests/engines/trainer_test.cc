// Vectors in tests/data: transformers and PEFT in float32, made by
// tests/oracles/make_tiny_vectors.py.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/factors.h"
#include "models/io/adapter/core_adapter.h"
#include "tests/engines/engine_under_test.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/data_folder.h"
#include "tests/training/memory_checkpoints.h"

namespace edgetune {
namespace {

using testing::GradientOf;
using ::testing::HasSubstr;
using testing::kData;
using testing::ListSource;
using testing::MakeTrainerUnderTest;
using testing::MemoryCheckpoints;
using testing::ReadFloats;
using testing::ReadVectorCase;
using testing::RelativeError;
using testing::TaughtSource;
using testing::VectorCase;
using testing::WorstTensorError;

class TrainerTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    directory_ = kData + GetParam();
    auto file = ModelFile::Open(directory_ + ".gguf");
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = std::move(*file);
    auto given = ReadVectorCase(directory_, file_->config());
    ASSERT_TRUE(given.ok()) << given.status();
    given_ = std::move(*given);
    trainer_ = Make(Precision::kFp32);
  }

  std::unique_ptr<Trainer> Make(Precision precision) {
    auto trainer = MakeTrainerUnderTest(file_, {precision, /*threads=*/1});
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return std::move(*trainer);
  }

  absl::StatusOr<TrainResult> Train(const TrainConfig& config) {
    return trainer_->Train(given_.adapter, given_.examples, config, store_,
                           stop_, progress_);
  }

  ParameterVector Stored(const std::string& name) {
    auto values = ReadFloats(directory_ + "/" + name);
    EXPECT_TRUE(values.ok()) << values.status();
    return *values;
  }

  std::string directory_;
  std::shared_ptr<const ModelFile> file_;
  VectorCase given_;
  std::unique_ptr<Trainer> trainer_;
  CheckpointStore* store_ = nullptr;
  StopToken stop_{false};
  std::function<void(const TrainProgress&)> progress_;
};

INSTANTIATE_TEST_SUITE_P(Models, TrainerTest,
                         ::testing::Values("tiny_tied", "tiny_untied"));

TEST_P(TrainerTest, GradientsEqualThoseOfPeft) {
  const auto batch = GradientOf(*trainer_, given_.adapter, given_.examples,
                                /*micro_batch=*/2);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_NEAR(batch->nll_sum / static_cast<double>(batch->labelled),
              given_.loss, 1e-5);
  EXPECT_LE(WorstTensorError(given_.adapter.layout, batch->gradient,
                             Stored("gradient.f32")),
            1e-4);  // decisions 14
}

TEST_P(TrainerTest, TrainingEqualsTorchOptimAdamW) {
  std::vector<double> losses;
  progress_ = [&](const TrainProgress& p) { losses.push_back(p.loss); };
  const auto result = Train(given_.train);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(losses.size(), given_.losses.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], given_.losses[i], 1e-4) << "step " << i;
  }
  // AdamW divides by the gradient's own size, so rounding shows in full.
  EXPECT_LE(RelativeError(result->delta, Stored("delta.f32")), 1e-4);
}

// Stored: PEFT's model with the optimiser given that factor's parameters only,
// so the other has no moments and no part in the clipped norm.
TEST_P(TrainerTest, TrainingOneFactorEqualsTorchOptimAdamWOnIt) {
  for (const auto& [factors, file] : {std::pair(Factors::kA, "delta_a.f32"),
                                      std::pair(Factors::kB, "delta_b.f32")}) {
    TrainConfig config = given_.train;
    config.factors = factors;
    const auto result = Train(config);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->delta.size(),
              LayoutOf(given_.adapter.layout, factors).size());
    EXPECT_LE(RelativeError(result->delta, Stored(file)), 1e-4);
  }
}

// In the first step both factors' gradients are taken at the incoming adapter;
// only the norm that clipping sees differs. A frozen factor that moved, or a
// gradient of it that leaked, would show.
TEST_P(TrainerTest, FirstStepOfOneFactorIsThatOfBothBitForBit) {
  TrainConfig config = given_.train;
  config.steps = 1;
  config.grad_clip = 0;
  const auto both = Train(config);
  ASSERT_TRUE(both.ok()) << both.status();
  for (const Factors factors : {Factors::kA, Factors::kB}) {
    config.factors = factors;
    const auto one = Train(config);
    ASSERT_TRUE(one.ok()) << one.status();
    EXPECT_EQ(one->first_loss, both->first_loss);
    EXPECT_EQ(one->delta,
              Gather(both->delta, RangesOf(given_.adapter.layout, factors)));
  }
}

// Of L(B R) the gradient by R is B^T that by B R; one step of plain SGD shows
// it.
// A teacher that is sure of every label is the labels, whatever its share.
TEST_P(TrainerTest, ATeacherThatSaysTheLabelsIsTheLabels) {
  HeldTargets targets(/*temperature=*/1, /*k=*/1);
  for (int64_t i = 0; i < given_.examples.size(); ++i) {
    const LabelledTokens& example = given_.examples.Get(i);
    for (size_t t = 1; t < example.tokens.size(); ++t) {
      if (example.labelled[t] == 0) continue;
      targets.Append({{example.tokens[t]}, {0}, -INFINITY});
    }
  }
  const TaughtSource taught(given_.examples, targets);
  const auto labels = GradientOf(*trainer_, given_.adapter, given_.examples, 2);
  const auto got = GradientOf(*trainer_, given_.adapter, taught, 2);
  ASSERT_TRUE(labels.ok() && got.ok()) << got.status();
  EXPECT_EQ(got->labelled, labels->labelled);
  EXPECT_NEAR(got->nll_sum, labels->nll_sum, 1e-5 * labels->nll_sum);
  EXPECT_LT(
      WorstTensorError(given_.adapter.layout, got->gradient, labels->gradient),
      1e-5);
  // And it is learnt from, by the same steps.
  TrainConfig config = given_.train;
  config.teacher_alpha = 1;
  const auto alone = Train(config);
  const auto told =
      trainer_->Train(given_.adapter, taught, config, nullptr, stop_, {});
  ASSERT_TRUE(alone.ok() && told.ok()) << told.status();
  EXPECT_NEAR(told->last_loss, alone->last_loss, 1e-4);
}

TEST_P(TrainerTest, CoresMoveAlongTheGradientOfTheirPlainForm) {
  Adapter cores{given_.adapter.spec, WithCores(given_.adapter.layout), {}};
  cores.values = InitialCoreAdapter(cores.layout, 3);
  for (const auto& range : RangesOf(cores.layout, Factors::kCore)) {
    for (size_t i = 0; i < range.count; ++i) {
      cores.values[range.adapter_offset + i] = 0.02f * static_cast<float>(i);
    }
  }
  const Adapter plain = PlainAdapter(cores);
  const auto gradient =
      GradientOf(*trainer_, plain, given_.examples, /*micro_batch=*/2);
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  TrainConfig config = given_.train;
  config.factors = Factors::kCore;
  config.optimizer = OptimizerKind::kSgd;
  config.weight_decay = 0;
  config.grad_clip = 0;
  config.steps = 1;
  config.warmup = 0;
  config.schedule = Schedule::kConstant;
  config.batch = given_.examples.size();
  const auto result = trainer_->Train(cores, given_.examples, config, nullptr,
                                      stop_, progress_);
  ASSERT_TRUE(result.ok()) << result.status();
  ParameterVector wanted;
  for (size_t t = 0; t + 2 < cores.layout.tensors().size(); t += 3) {
    const auto& b = cores.layout.tensors()[t + 1];
    const auto& product = plain.layout.tensors()[t / 3 * 2 + 1];
    const int64_t rank = b.shape[1];
    for (int64_t k = 0; k < rank; ++k) {
      for (int64_t j = 0; j < rank; ++j) {
        double sum = 0;
        for (int64_t row = 0; row < b.shape[0]; ++row) {
          sum += double{cores.values[b.offset + row * rank + k]} *
                 gradient->gradient[product.offset + row * rank + j];
        }
        wanted.push_back(static_cast<float>(-config.lr * sum));
      }
    }
  }
  ASSERT_EQ(result->delta.size(), wanted.size());
  // The delta is a difference of floats as large as the cores.
  EXPECT_LE(RelativeError(result->delta, wanted), 1e-4);
  const auto as_cores = trainer_->Evaluate(cores, given_.examples, 0, stop_);
  const auto as_plain = trainer_->Evaluate(plain, given_.examples, 0, stop_);
  ASSERT_TRUE(as_cores.ok() && as_plain.ok());
  EXPECT_EQ(as_cores->nll_sum, as_plain->nll_sum);
}

// In the first step the gradient is taken at the whole adapter, frozen slices
// and all: what is trained of it moves as it does beside the others.
TEST_P(TrainerTest, FirstStepOfTrainedSlicesIsThatOfAllBitForBit) {
  const Adapter& adapter = given_.adapter;
  ASSERT_GE(adapter.spec.rank, 2);
  TrainConfig config = given_.train;
  config.steps = 1;
  config.grad_clip = 0;
  config.micro_batch = config.batch;
  const auto all = Train(config);
  config.frozen_rank = adapter.spec.rank - 1;
  const auto first = Train(config);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->first_loss, all->first_loss);
  EXPECT_EQ(first->delta, FirstSlices(all->delta, adapter.layout, 1));
  EXPECT_NE(first->delta, ParameterVector(first->delta.size(), 0));
}

// With B = 0 the gradient of A is exactly 0: clipping sees the same norm too.
TEST_P(TrainerTest, FirstRoundFromAFreshAdapterMovesBAsUnderFedit) {
  const auto b = RangesOf(given_.adapter.layout, Factors::kB);
  given_.adapter.values = InitialAdapter(given_.adapter.layout, 3);
  TrainConfig config = given_.train;
  config.steps = 1;
  config.weight_decay = 0;
  config.grad_clip = 1e-3;
  const auto both = Train(config);
  config.factors = Factors::kB;
  const auto one = Train(config);
  config.factors = Factors::kA;
  const auto other = Train(config);
  ASSERT_TRUE(both.ok() && one.ok() && other.ok());
  EXPECT_EQ(one->delta, Gather(both->delta, b));
  EXPECT_NE(one->delta, ParameterVector(one->delta.size(), 0));
  EXPECT_EQ(other->delta, ParameterVector(other->delta.size(), 0));
}

TEST_P(TrainerTest, MicroBatchesChangeOnlyMemory) {
  const auto one = GradientOf(*trainer_, given_.adapter, given_.examples, 1);
  const auto all = GradientOf(*trainer_, given_.adapter, given_.examples, 9);
  ASSERT_TRUE(one.ok() && all.ok());
  EXPECT_EQ(one->labelled, all->labelled);
  EXPECT_LE(
      WorstTensorError(given_.adapter.layout, one->gradient, all->gradient),
      1e-4);
}

TEST_P(TrainerTest, Bf16StaysNearFp32) {
  const auto exact = GradientOf(*trainer_, given_.adapter, given_.examples, 4);
  const auto made =
      MakeTrainerUnderTest(file_, {Precision::kBf16, /*threads=*/1});
  if (absl::IsFailedPrecondition(made.status())) {
    // A processor without AVX-512.
    EXPECT_THAT(std::string(made.status().message()), HasSubstr("bfloat16"));
    return;
  }
  ASSERT_TRUE(made.ok()) << made.status();
  const auto& trainer = *made;
  EXPECT_EQ(trainer->precision(), "bf16");
  const auto rounded = GradientOf(*trainer, given_.adapter, given_.examples, 4);
  ASSERT_TRUE(exact.ok() && rounded.ok());
  // bfloat16 keeps 8 bits: 0.4 % a rounding, several in a row.
  EXPECT_NEAR(rounded->nll_sum, exact->nll_sum, 0.01 * exact->nll_sum);
  EXPECT_LE(RelativeError(rounded->gradient, exact->gradient), 0.05);
  EXPECT_GT(RelativeError(rounded->gradient, exact->gradient), 1e-5);
}

TEST_P(TrainerTest, SameSeedSameBits) {
  const auto first = Train(given_.train);
  const auto second = Train(given_.train);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->delta, second->delta);
}

TEST_P(TrainerTest, SeedAndRoundDecideTheExamples) {
  TrainConfig config = given_.train;
  config.batch = 2;
  config.steps = 1;
  config.rounds = 2;
  const auto base = Train(config);
  config.round = 1;
  const auto next = Train(config);
  ASSERT_TRUE(base.ok() && next.ok());
  EXPECT_NE(base->first_loss, next->first_loss);
}

TEST_P(TrainerTest, EvaluationIsTheLossOfLabelledTokens) {
  const auto all =
      trainer_->Evaluate(given_.adapter, given_.examples, 0, stop_);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_NEAR(all->nll_sum / static_cast<double>(all->tokens), given_.loss,
              1e-5);
  // The second example alone: its labels begin at token 1.
  const auto two =
      trainer_->Evaluate(given_.adapter, given_.examples, 2, stop_);
  const auto one =
      trainer_->Evaluate(given_.adapter, given_.examples, 1, stop_);
  ASSERT_TRUE(one.ok() && two.ok());
  const auto& scores = given_.log_probs[1];
  EXPECT_EQ(two->tokens - one->tokens, 4);
  EXPECT_NEAR(two->nll_sum - one->nll_sum,
              -std::accumulate(scores.begin(), scores.end(), 0.0), 1e-4);
}

// Asks to stop while its first example is read.
class StoppingSource final : public ExampleSource {
 public:
  StoppingSource(const ExampleSource* real, StopToken* stop)
      : real_(real), stop_(stop) {}
  int64_t size() const override { return real_->size(); }
  const LabelledTokens& Get(int64_t index) const override {
    *stop_ = true;
    return real_->Get(index);
  }

 private:
  const ExampleSource* const real_;
  StopToken* const stop_;
};

TEST_P(TrainerTest, StoppedEvaluationGivesNoScore) {
  const StoppingSource source(&given_.examples, &stop_);
  EXPECT_EQ(trainer_->Evaluate(given_.adapter, source, 0, stop_).status(),
            absl::CancelledError("the evaluation was stopped"));
  stop_ = false;
  EXPECT_TRUE(
      trainer_->Evaluate(given_.adapter, given_.examples, 0, stop_).ok());
}

TEST_P(TrainerTest, StopsBetweenSteps) {
  progress_ = [&](const TrainProgress& p) {
    if (p.step == 2) stop_ = true;
  };
  const auto result = Train(given_.train);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(result->steps, 2);
  EXPECT_GT(std::fabs(result->delta[0]), 0);
}

// Everything that a step depends on beside the values: schedule, moments,
// clipping and decay, and that of the frozen factor nothing.
TrainConfig EveryTermOf(TrainConfig config) {
  config.steps = 5;
  config.batch = 2;
  config.micro_batch = 1;
  config.schedule = Schedule::kCosine;
  config.warmup = 7;
  config.grad_clip = 0.05;
  config.weight_decay = 0.1;
  config.round = 1;
  config.rounds = 3;
  return config;
}

TEST_P(TrainerTest, KilledAfterAnyStepItEndsWithTheSameBits) {
  TrainConfig config = EveryTermOf(given_.train);
  for (const Factors factors : {Factors::kBoth, Factors::kA, Factors::kB}) {
    config.factors = factors;
    store_ = nullptr;
    const auto whole = Train(config);
    ASSERT_TRUE(whole.ok()) << whole.status();
    MemoryCheckpoints all;
    all.due = true;
    store_ = &all;
    ASSERT_TRUE(Train(config).ok());
    ASSERT_EQ(all.saved.size(), 4u);
    for (size_t k = 1; k <= all.saved.size(); ++k) {
      // As another process, which knows nothing but the checkpoint.
      trainer_ = Make(Precision::kFp32);
      MemoryCheckpoints one;
      one.saved = {all.saved[k - 1]};
      store_ = &one;
      std::vector<int64_t> steps;
      progress_ = [&](const TrainProgress& p) { steps.push_back(p.step); };
      const auto result = Train(config);
      progress_ = nullptr;
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(steps.size(), 5 - k);
      EXPECT_EQ(result->resumed, static_cast<int64_t>(k));
      EXPECT_EQ(result->delta, whole->delta);
      EXPECT_EQ(result->first_loss, whole->first_loss);
      EXPECT_EQ(result->last_loss, whole->last_loss);
      EXPECT_EQ(result->tokens, whole->tokens);
    }
  }
}

TEST_P(TrainerTest, StoppedAfterAnyStepItEndsWithTheSameBits) {
  const TrainConfig config = EveryTermOf(given_.train);
  const auto whole = Train(config);
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (int64_t k = 1; k < config.steps; ++k) {
    MemoryCheckpoints store;
    store_ = &store;
    progress_ = [&](const TrainProgress& p) { stop_ = p.step == k; };
    EXPECT_TRUE(Train(config)->stopped);
    stop_ = false;
    progress_ = nullptr;
    const auto result = Train(config);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->resumed, k);
    EXPECT_EQ(result->delta, whole->delta);
  }
}

TEST_P(TrainerTest, CheckpointOfAnotherPrecisionIsLeftAside) {
  auto other = MakeTrainerUnderTest(file_, {Precision::kBf16, /*threads=*/1});
  if (!other.ok()) {  // nothing it could be mixed up with
    EXPECT_TRUE(absl::IsFailedPrecondition(other.status())) << other.status();
    return;
  }
  MemoryCheckpoints store;
  store.due = true;
  store_ = &store;
  ASSERT_TRUE(Train(given_.train).ok());
  trainer_ = *std::move(other);
  const auto result = Train(given_.train);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->resumed, 0);
  EXPECT_EQ(store.refused.size(), 1u);
}

TEST_P(TrainerTest, RefusesAnAdapterOfAnotherShape) {
  given_.adapter.values.pop_back();
  const auto result = Train(given_.train);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("does not fit the model"));
}

TEST_P(TrainerTest, RefusesUnusableExamples) {
  const auto code = [&](std::vector<LabelledTokens> examples) {
    given_.examples = ListSource(std::move(examples));
    return Train(given_.train).status().code();
  };
  const auto refused = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({}), refused);
  EXPECT_EQ(code({{{3, 4}, {0, 0}}}), refused);       // no label
  EXPECT_EQ(code({{{3, 4}, {1, 0}}}), refused);       // on the first only
  EXPECT_EQ(code({{{3, 100000}, {0, 1}}}), refused);  // vocabulary
  EXPECT_EQ(code({{{3, -1}, {0, 1}}}), refused);
  EXPECT_EQ(code({{{3, 4, 5}, {0, 1}}}), refused);  // marks missing
  EXPECT_EQ(code({{std::vector<int32_t>(5000, 3),   // context
                   std::vector<uint8_t>(5000, 1)}}),
            refused);
}

TEST_P(TrainerTest, RefusesSettingsThatCannotTrain) {
  TrainConfig config = given_.train;
  config.micro_batch = 0;
  EXPECT_EQ(Train(config).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(TrainerTest, ReportsALossThatIsNotFinite) {
  given_.adapter.values.assign(given_.adapter.values.size(),
                               std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(Train(given_.train).status().code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace edgetune
