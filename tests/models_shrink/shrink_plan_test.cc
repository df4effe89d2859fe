#include "models/shrink/shrink_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/status.h"
#include "tests/models_shrink/whole_model.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::OpenTinyModel;
using testing::SomeNorms;

class ShrinkPlanTest : public ::testing::Test {
 protected:
  ShrinkPlanTest()
      : model_(OpenTinyModel(scratch_,
                             {.layers = 4, .heads = 8, .kv_heads = 4})) {}

  void ExpectRefused(const ShrinkTarget& target, const char* words,
                     const char* hint) const {
    const absl::Status status = ChooseParts(*model_, target).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_THAT(HintOf(status), HasSubstr(hint));
  }

  std::vector<int64_t> LayersOf(const KeptParts& kept) const {
    std::vector<int64_t> out;
    for (const KeptLayer& layer : kept.layers) out.push_back(layer.layer);
    return out;
  }

  const testing::ScratchDirectory scratch_;
  const std::unique_ptr<ModelFile> model_;
};

TEST_F(ShrinkPlanTest, NoTargetKeepsEverythingAndReadsNothing) {
  const KeptParts kept = ChooseParts(*model_, {}, {}, [](uint64_t, uint64_t) {
                           return absl::InternalError("read");
                         }).value();
  EXPECT_THAT(LayersOf(kept), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(kept.layers[3].channels.size(), 96u);
  EXPECT_EQ(kept.layers[3].groups.size(), 4u);
  EXPECT_FALSE(kept.tokens.has_value());
}

TEST_F(ShrinkPlanTest, LayersOfGivenImportanceStayInTheirOrder) {
  ShrinkEvidence evidence;
  evidence.layers = {0.5, 0.1, 0.9, 0.1};
  EXPECT_THAT(LayersOf(*ChooseParts(*model_, {.layers = 2}, evidence)),
              ElementsAre(0, 2));
  EXPECT_THAT(LayersOf(*ChooseParts(*model_, {.layers = 3}, evidence)),
              ElementsAre(0, 1, 2));
}

TEST_F(ShrinkPlanTest, TheLargestPartsOfEachKeptLayerStay) {
  ShrinkEvidence evidence;
  evidence.norms = SomeNorms(model_->config());
  uint64_t last = 0, all = 0;
  const KeptParts kept =
      ChooseParts(*model_, {.layers = 3, .ffn = 64, .heads = 4}, evidence,
                  [&](uint64_t done, uint64_t total) {
                    EXPECT_GT(done, last);
                    last = done;
                    all = total;
                    return absl::OkStatus();
                  })
          .value();
  EXPECT_EQ(last, all);
  WeightReader reader(*model_, 0, {});
  std::vector<double> layers;
  for (int64_t i = 0; i < 4; ++i) {
    layers.push_back(*LayerScore(model_->config(), i, evidence.norms, &reader));
  }
  EXPECT_EQ(LayersOf(kept), LargestOf(layers, 3));
  for (const KeptLayer& layer : kept.layers) {
    const auto channels =
        *ChannelScores(model_->config(), layer.layer, evidence.norms, &reader);
    const auto groups =
        *GroupScores(model_->config(), layer.layer, evidence.norms, &reader);
    EXPECT_EQ(layer.channels, LargestOf(channels, 64));
    EXPECT_EQ(layer.groups, LargestOf(groups, 2));
  }
}

TEST_F(ShrinkPlanTest, NormsChangeTheChoice) {
  ShrinkEvidence evidence;
  evidence.norms = SomeNorms(model_->config());
  const ShrinkTarget target = {.ffn = 32};
  EXPECT_NE(ChooseParts(*model_, target)->layers[0].channels,
            ChooseParts(*model_, target, evidence)->layers[0].channels);
}

TEST_F(ShrinkPlanTest, NumbersThatTheModelCannotHaveAreRefused) {
  ExpectRefused({.layers = 5}, "cannot keep 5 layers: the model has 4",
                "take 1 to 4");
  ExpectRefused({.layers = 0}, "cannot keep 0 layers", "take 1 to 4");
  ExpectRefused({.layers = -1}, "cannot keep -1 layers", "take 1 to 4");
  ExpectRefused({.ffn = 128}, "128 feed-forward channels: the model has 96",
                "take 32 to 96");
  ExpectRefused({.ffn = 40}, "they go in 32s", "take 32 or 64");
  ExpectRefused({.ffn = 8}, "they go in 32s", "take 32");
  ExpectRefused({.heads = 16}, "16 attention heads: the model has 8",
                "take 2 to 8");
  ExpectRefused({.heads = 3}, "they go in 2s", "take 2 or 4");
}

TEST_F(ShrinkPlanTest, AWidthThatIsNoMultipleMayStay) {
  const auto odd = OpenTinyModel(scratch_, {.ffn = 40});
  EXPECT_EQ(ChooseParts(*odd, {.ffn = 40})->layers[0].channels.size(), 40u);
  EXPECT_EQ(ChooseParts(*odd, {.ffn = 32})->layers[0].channels.size(), 32u);
  const absl::Status status = ChooseParts(*odd, {.ffn = 39}).status();
  EXPECT_THAT(HintOf(status), HasSubstr("take 32 or 40"));
}

TEST_F(ShrinkPlanTest, AShareIsRoundedToWholeBlocks) {
  EXPECT_EQ(*ChannelsOfShare(1536, 0.5, 256), 768);
  EXPECT_EQ(*ChannelsOfShare(1536, 0.7, 256), 1024);
  EXPECT_EQ(*ChannelsOfShare(1536, 0.7, 32), 1088);
  EXPECT_EQ(*ChannelsOfShare(1536, 0.001, 256), 256);
  EXPECT_EQ(*ChannelsOfShare(1536, 0.999, 256), 1536);
  EXPECT_EQ(*ChannelsOfShare(40, 0.9, 32), 32);
  EXPECT_EQ(*ChannelsOfShare(24, 0.5, 32), 24);
  for (const double share :
       {0.0, 1.0, -0.5, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    const absl::Status status = ChannelsOfShare(96, share, 32).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kUsage) << share;
  }
}

TEST_F(ShrinkPlanTest, EvidenceOfAnotherModelIsRefused) {
  ShrinkEvidence evidence;
  evidence.layers = {1, 2, 3};
  EXPECT_THAT(
      std::string(ChooseParts(*model_, {}, evidence).status().message()),
      HasSubstr("3 scores of layers, the model has 4"));
  evidence.layers = {1, 2, 3, std::numeric_limits<double>::infinity()};
  EXPECT_THAT(
      std::string(ChooseParts(*model_, {}, evidence).status().message()),
      HasSubstr("score inf"));
  evidence.layers.clear();
  evidence.norms["layers.0.mlp.up_proj"] = {1};
  EXPECT_FALSE(ChooseParts(*model_, {}, evidence).ok());
}

TEST_F(ShrinkPlanTest, TokensOutsideTheVocabularyAreRefused) {
  for (const int32_t id : {-1, 300}) {
    const absl::Status status =
        ChooseParts(*model_, {.tokens = {{id}}}).status();
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("outside the vocabulary of 300"));
  }
  EXPECT_GE(ChooseParts(*model_, {.tokens = {{299}}})->tokens->size(), 260u);
}

TEST_F(ShrinkPlanTest, WhatEndsTheProgressEndsTheWork) {
  const auto kept = ChooseParts(
      *model_, {.ffn = 32}, {},
      [](uint64_t, uint64_t) { return absl::CancelledError("enough"); });
  EXPECT_EQ(kept.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace edgetune
