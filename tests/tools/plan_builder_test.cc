#include "tools/federation/plan_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <tuple>

#include "base/atomic_file.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "base/units.h"
#include "client/train_plan.h"
#include "models/io/vision/vision_model.h"
#include "models/io/vision/vision_network.h"
#include "privacy/crypto/hash.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PlanBuilderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/plan_builder_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    ASSERT_TRUE(MakeDirectories(folder_).ok());
    path_ = folder_ + "/some name.gguf";
    ASSERT_TRUE(testing::WriteTinyModel(path_).ok());
    auto model = ModelFile::Open(path_);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  PlanRequest Request() const {
    PlanRequest request;
    request.run.model.base = path_;
    request.name = "a run";
    request.model_path = path_;
    request.model = model_.get();
    request.now = absl::FromUnixSeconds(1'700'000'000);
    return request;
  }

  std::string folder_, path_;
  std::unique_ptr<ModelFile> model_;
};

// An older device refuses a plan with fields that it does not know.
TEST_F(PlanBuilderTest, DefaultsOfLocalWorkAreLeftOut) {
  const auto built = BuildPlan(Request());
  ASSERT_TRUE(built.ok()) << built.status();
  const v1::TrainSpec& train = built->plan.train();
  EXPECT_EQ(train.steps(), 6u);
  EXPECT_EQ(train.epochs(), 0u);
  EXPECT_EQ(train.optimizer() + train.objective(), "");
  EXPECT_EQ(built->plan.rounds().normalise(), "");
}

TEST_F(PlanBuilderTest, LocalWorkReachesThePlan) {
  PlanRequest request = Request();
  request.run.secagg.enabled = false;
  request.run.train.steps = 0;
  request.run.train.epochs = 2;
  request.run.train.optimizer = "sgd";
  request.run.train.objective = "prox";
  request.run.train.prox_mu = 0.1;
  request.run.train.teacher_alpha = 0.5;
  request.run.rounds.normalise = "steps";
  const auto built = BuildPlan(request);
  ASSERT_TRUE(built.ok()) << built.status();
  const v1::TrainSpec& train = built->plan.train();
  EXPECT_EQ(train.epochs(), 2u);
  EXPECT_EQ(train.optimizer(), "sgd");
  EXPECT_EQ(train.objective(), "prox");
  EXPECT_EQ(train.prox_mu(), 0.1);
  EXPECT_EQ(train.teacher_alpha(), 0.5);
  EXPECT_EQ(train.teacher_temperature(), 2);
  EXPECT_EQ(train.teacher_top_k(), 16u);
  EXPECT_EQ(built->plan.rounds().normalise(), "steps");
  request.run.rounds.normalise = "none";
  request.run.rounds.fairness_q = 2;
  request.run.train.momentum = 0.9;
  EXPECT_EQ(BuildPlan(request)->plan.rounds().fairness_q(), 2);
  EXPECT_EQ(BuildPlan(request)->plan.train().momentum(), 0.9);
  request.run.secagg.enabled = true;
  EXPECT_THAT(std::string(BuildPlan(request).status().message()),
              HasSubstr("rounds.fairness_q"));
}

TEST_F(PlanBuilderTest, DefaultsMakeAPlanThatIsAccepted) {
  auto built = BuildPlan(Request());
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_TRUE(ParsePlan(built->payload).ok());
  EXPECT_EQ(built->run_id, Sha256Bytes(built->payload));
  EXPECT_EQ(built->plan.header().issued_ms(), 1'700'000'000'000);
  EXPECT_EQ(built->plan.rounds().quorum(), built->plan.rounds().cohort());
}

// The run file has defaults for all four fields.
TEST_F(PlanBuilderTest, AFieldOfARuleIsInThePlanOfThatRuleOnly) {
  for (const std::string rule :
       {"mean", "trimmed_mean", "median", "geometric_median", "krum",
        "multi_krum", "bulyan", "norm_bound"}) {
    PlanRequest request = Request();
    request.run.secagg.enabled = false;
    request.run.rounds.cohort = 7;
    request.run.rounds.kept = 2;
    request.run.rounds.aggregator = rule;
    auto built = BuildPlan(request);
    ASSERT_TRUE(built.ok()) << built.status();
    const v1::RoundsSpec& rounds = built->plan.rounds();
    const bool counts =
        rule == "krum" || rule == "multi_krum" || rule == "bulyan";
    EXPECT_EQ(rounds.trim(), rule == "trimmed_mean" ? 0.25 : 0) << rule;
    EXPECT_EQ(rounds.byzantine(), counts ? 1u : 0u) << rule;
    EXPECT_EQ(rounds.kept(), rule == "multi_krum" ? 2u : 0u) << rule;
    EXPECT_EQ(rounds.norm_bound(), rule == "norm_bound" ? 1 : 0) << rule;
  }
}

TEST_F(PlanBuilderTest, BaseIsNamedModelGgufWhateverTheUserCalledIt) {
  auto built = BuildPlan(Request());
  ASSERT_TRUE(built.ok()) << built.status();
  const v1::FilePart& part = built->plan.model().parts(0);
  EXPECT_EQ(part.name(), "model.gguf");
  EXPECT_EQ(part.size(), std::filesystem::file_size(path_));
  EXPECT_EQ(part.sha256(), DigestBytes(*HashFile(path_)));
  // u32 count, lp(name), u64 size, lp(sha256), big-endian, by hand.
  std::string canonical("\0\0\0\1\0\0\0\x0amodel.gguf", 18);
  for (int shift = 56; shift >= 0; shift -= 8) {
    canonical += static_cast<char>(part.size() >> shift);
  }
  canonical += std::string("\0\0\0\x20", 4) + part.sha256();
  EXPECT_EQ(built->plan.model().digest(), Sha256Bytes(canonical));
}

TEST_F(PlanBuilderTest, LayoutCountsAreThoseOfTheModel) {
  PlanRequest request = Request();
  request.run.lora.rank = 4;
  request.run.lora.targets = {"v_proj", "q_proj"};
  auto built = BuildPlan(request);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_THAT(built->plan.lora().targets(), ElementsAre("q_proj", "v_proj"));
  // Two layers; hidden 64, two key/value heads of 16: q 64->64, v 64->32.
  EXPECT_EQ(built->initial.values.size(), 2 * 4 * (64 + 64 + 64 + 32));
  EXPECT_EQ(built->initial_blob.size(), 4 * built->initial.values.size());
  EXPECT_EQ(built->plan.lora().initial_digest(),
            Sha256Bytes(built->initial_blob));
}

// The server would refuse zeros there; what R begins with is nothing.
TEST_F(PlanBuilderTest, UnderFedSbAAndBAreOrthonormalAndRIsZero) {
  PlanRequest request = Request();
  request.run.lora.rule = "fedsb";
  const auto built = BuildPlan(request);
  ASSERT_TRUE(built.ok()) << built.status();
  size_t cores = 0;
  for (const auto& tensor : built->initial.layout.tensors()) {
    double squares = 0;
    for (size_t i = 0; i < tensor.count; ++i) {
      const double value = built->initial.values[tensor.offset + i];
      squares += value * value;
    }
    const bool core = tensor.name.ends_with("lora_R");
    cores += core ? tensor.count : 0;
    const auto rank = static_cast<double>(request.run.lora.rank);
    EXPECT_NEAR(squares, core ? 0 : rank, 1e-4) << tensor.name;
  }
  EXPECT_EQ(UpdateLayout(built->plan, 0)->size(), cores);
  EXPECT_TRUE(CheckLayout(built->plan, request.model->config()).ok());
}

// What is frozen begins as zeros behind what fedit begins with, at its scale.
TEST_F(PlanBuilderTest, FrozenSlicesStandBehindThoseThatAreTrained) {
  PlanRequest request = Request();
  request.run.lora.rank = 4;
  const auto plain = BuildPlan(request);
  ASSERT_TRUE(plain.ok()) << plain.status();
  request.run.rounds.server_optimizer = "sgd";
  request.run.secagg.enabled = false;
  for (const char* rule : {"fedex", "flora"}) {
    // Four times the rank, what 32 outputs leave, or as said.
    for (const auto& [rank, said, frozen] :
         {std::tuple{4, 0, 16}, std::tuple{10, 0, 22}, std::tuple{4, 7, 7}}) {
      request.run.lora.rule = rule;
      request.run.lora.rank = rank;
      request.run.lora.frozen_rank = said;
      const auto built = BuildPlan(request);
      ASSERT_TRUE(built.ok()) << built.status();
      EXPECT_EQ(int64_t{built->plan.lora().rank()}, rank);
      EXPECT_EQ(built->plan.lora().alpha(), plain->plan.lora().alpha());
      EXPECT_EQ(FrozenRank(built->plan), frozen);
      const Adapter& initial = built->initial;
      EXPECT_EQ(initial.spec.rank, rank + frozen);
      EXPECT_DOUBLE_EQ(initial.spec.alpha / (rank + frozen),
                       request.run.lora.alpha / rank);
      const ParameterVector rest =
          WithoutSlices(initial.values, initial.layout, 0, rank);
      EXPECT_EQ(rest, ParameterVector(rest.size()));
      if (rank == 4) {
        EXPECT_EQ(FirstSlices(initial.values, initial.layout, rank),
                  plain->initial.values);
      }
      EXPECT_TRUE(CheckLayout(built->plan, request.model->config()).ok());
    }
  }
  request.run.lora.frozen_rank = 29;
  EXPECT_THAT(std::string(BuildPlan(request).status().message()),
              ::testing::HasSubstr("rank + frozen_rank: LoRA rank is 33"));
}

// Under ffa A stays as it is built: zeros anywhere would never learn.
TEST_F(PlanBuilderTest, InitialAIsRandomAndBIsZeroUnderEveryRule) {
  for (const char* rule : {"fedit", "ffa", "rolora", "fedsa"}) {
    PlanRequest request = Request();
    request.run.lora.rule = rule;
    auto built = BuildPlan(request);
    ASSERT_TRUE(built.ok()) << built.status();
    const Adapter& initial = built->initial;
    for (const auto& tensor : initial.layout.tensors()) {
      const float* values = initial.values.data() + tensor.offset;
      const std::set<float> distinct(values, values + tensor.count);
      if (tensor.name.ends_with("lora_A")) {
        EXPECT_GT(distinct.size(), tensor.count / 2) << tensor.name;
      } else {
        EXPECT_EQ(distinct, std::set<float>{0}) << tensor.name;
      }
    }
  }
}

TEST_F(PlanBuilderTest, OfAModelOfImagesAllParametersAreTrained) {
  ModelConfig config;
  config.architecture = "mcmahan_2nn";
  config.image = ImageShape{1, 2, 3};
  config.vocab = 10;
  const ParameterVector weights = InitialWeights(*NetworkOf(config), 1);
  const std::string directory = folder_ + "/vision";
  ASSERT_TRUE(WriteVisionModel(directory, config, weights, {}).ok());
  const auto model = ModelFile::Open(directory);
  ASSERT_TRUE(model.ok()) << model.status();
  PlanRequest request = Request();
  request.model_path = directory;
  request.model = model->get();
  EXPECT_THAT(BuildPlan(request).status().ToString(),
              HasSubstr("[lora]: mcmahan_2nn is a model of images"));
  request.run.lora.rule = "full";
  request.run.data.schema = "image";
  request.run.train.engine = "reference";
  const auto built = BuildPlan(request);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->initial.values, ParameterVector(weights.size(), 0));
  EXPECT_EQ(built->plan.lora().layout(0).name(), "fc1.weight");
  EXPECT_EQ(built->plan.lora().rank(), 0u);
  EXPECT_EQ(built->plan.lora().targets_size(), 0);
  ASSERT_EQ(built->plan.model().parts_size(), 2);
  EXPECT_EQ(built->plan.model().parts(1).name(), "model.safetensors");
  EXPECT_EQ(built->plan.data().max_length(), 1u);
  request.run.lora.parts = {"fc2"};
  const auto part = BuildPlan(request);
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_THAT(part->plan.lora().targets(), ElementsAre("fc2"));
  ASSERT_EQ(part->plan.lora().layout_size(), 2);
  EXPECT_EQ(part->plan.lora().layout(0).name(), "fc2.weight");
  EXPECT_EQ(part->initial.values, ParameterVector(200 * 200 + 200, 0));
  request.run.lora.parts = {"fc4"};
  EXPECT_THAT(BuildPlan(request).status().ToString(),
              HasSubstr("part \"fc4\"; there are fc1, fc2, fc3"));
}

TEST_F(PlanBuilderTest, SeedDecidesTheInitialAdapterAndTheNonceDoesNot) {
  auto first = BuildPlan(Request());
  auto again = BuildPlan(Request());
  PlanRequest other = Request();
  other.run.train.seed = 2;
  auto reseeded = BuildPlan(other);
  ASSERT_TRUE(first.ok() && again.ok() && reseeded.ok());
  EXPECT_NE(first->run_id, again->run_id);
  EXPECT_EQ(first->initial_blob, again->initial_blob);
  EXPECT_NE(first->initial_blob, reseeded->initial_blob);
}

TEST_F(PlanBuilderTest, SameTokenIsTheSameRun) {
  PlanRequest request = Request();
  request.token = "nightly-7";
  auto first = BuildPlan(request);
  auto again = BuildPlan(request);
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first->run_id, again->run_id);
  EXPECT_EQ(first->plan.nonce(), Sha256Bytes("nightly-7"));
}

TEST_F(PlanBuilderTest, LongestExampleNeverExceedsTheContext) {
  PlanRequest request = Request();
  request.run.data.max_length = 512;  // of a context of 256
  auto built = BuildPlan(request);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->plan.data().max_length(), 256u);
  request.run.data.max_length = 100;
  EXPECT_EQ(BuildPlan(request)->plan.data().max_length(), 100u);
}

TEST_F(PlanBuilderTest, RankBeyondTheModelIsAConfigError) {
  PlanRequest request = Request();
  request.run.lora.rank = 1000;
  const absl::Status status = BuildPlan(request).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kConfig);
  EXPECT_EQ(ExitCodeOf(status), 4);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000"));
}

TEST_F(PlanBuilderTest, WhatAServerWouldRefuseIsRefusedHere) {
  PlanRequest request = Request();
  request.run.rounds.quorum = 9;  // of a cohort of 4
  const absl::Status status = BuildPlan(request).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kConfig);
  EXPECT_THAT(std::string(status.message()), HasSubstr("quorum"));
}

TEST_F(PlanBuilderTest, LongNamesAreCutAtACharacter) {
  PlanRequest request = Request();
  request.name = std::string(99, 'x') + "\xc3\xa9";
  auto built = BuildPlan(request);
  ASSERT_TRUE(built.ok()) << built.status();
  EXPECT_EQ(built->plan.name(), std::string(99, 'x'));
}

}  // namespace
}  // namespace edgetune
