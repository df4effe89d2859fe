#include "models/shrink/input_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/status.h"
#include "models/shrink/importance.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;

// Two layers, two heads of one over one key/value head.
ModelConfig SmallConfig() {
  ModelConfig config;
  config.hidden = 2;
  config.ffn = 3;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 1;
  return config;
}

class InputStatisticsTest : public ::testing::Test {
 protected:
  absl::Status Add(int64_t layer, LayerInput place, std::vector<float> rows,
                   int64_t width) {
    return statistics_.Add({layer, place, rows, width});
  }
  // One token with these values at every place of a layer.
  void Pass(int64_t layer, float x, float y) {
    ASSERT_TRUE(Add(layer, LayerInput::kLayer, {x, y}, 2).ok());
    ASSERT_TRUE(Add(layer, LayerInput::kQkv, {2 * x, y}, 2).ok());
    ASSERT_TRUE(Add(layer, LayerInput::kOut, {x, y, 0, 1}, 4).ok());
    ASSERT_TRUE(Add(layer, LayerInput::kGateUp, {x, 3 * y}, 2).ok());
    ASSERT_TRUE(Add(layer, LayerInput::kDown, {x, y, 5}, 3).ok());
  }

  InputStatistics statistics_{SmallConfig()};
};

TEST_F(InputStatisticsTest, NormsAreOverAllTokensAndBlockInfluenceTheirMean) {
  // Token by token; cos of (1,0) and (1,1) is sqrt(1/2), of (1,1) and (2,2) 1.
  Pass(0, 1, 0);
  Pass(1, 1, 1);
  ASSERT_TRUE(Add(2, LayerInput::kLayer, {2, 2}, 2).ok());
  // (0,4), (0,-3), (3,0): cos -1, then 0.
  Pass(0, 0, 4);
  Pass(1, 0, -3);
  ASSERT_TRUE(Add(2, LayerInput::kLayer, {3, 0}, 2).ok());
  EXPECT_EQ(statistics_.tokens(), 2);
  const auto evidence = statistics_.Evidence();
  ASSERT_TRUE(evidence.ok()) << evidence.status();
  EXPECT_THAT(evidence->layers,
              ElementsAre(DoubleNear((1 - std::sqrt(0.5) + 2) / 2, 1e-12),
                          DoubleNear((0 + 1) / 2.0, 1e-12)));
  const InputNorms& norms = evidence->norms;
  EXPECT_EQ(norms.size(), 14u);
  EXPECT_TRUE(CheckInputNorms(SmallConfig(), norms).ok());
  for (const char* linear : {"q_proj", "k_proj", "v_proj"}) {
    EXPECT_THAT(norms.at(std::string("layers.0.self_attn.") + linear),
                ElementsAre(2.0f, 4.0f));
  }
  EXPECT_THAT(norms.at("layers.0.self_attn.o_proj"),
              ElementsAre(1.0f, 4.0f, 0.0f, FloatNear(std::sqrt(2.0f), 1e-6f)));
  EXPECT_THAT(norms.at("layers.0.mlp.gate_proj"), ElementsAre(1.0f, 12.0f));
  EXPECT_THAT(norms.at("layers.0.mlp.up_proj"), ElementsAre(1.0f, 12.0f));
  EXPECT_THAT(norms.at("layers.1.mlp.down_proj"),
              ElementsAre(1.0f, FloatNear(std::sqrt(10.0f), 1e-6f),
                          FloatNear(std::sqrt(50.0f), 1e-6f)));
}

TEST_F(InputStatisticsTest, NormsOfKeptPartsAreThoseOfTheirInputs) {
  Pass(0, 1, 2);
  Pass(1, 3, 4);
  const InputNorms whole = statistics_.Evidence()->norms;
  const KeptParts kept = {{{.layer = 1, .channels = {0, 2}, .groups = {1}}},
                          std::nullopt};
  const InputNorms some = NormsOfKept(SmallConfig(), kept, whole);
  EXPECT_EQ(some.size(), 7u);
  EXPECT_THAT(some.at("layers.0.self_attn.q_proj"), ElementsAre(6.0f, 4.0f));
  EXPECT_THAT(some.at("layers.0.self_attn.o_proj"), ElementsAre(0.0f, 1.0f));
  EXPECT_THAT(some.at("layers.0.mlp.up_proj"), ElementsAre(3.0f, 12.0f));
  EXPECT_THAT(some.at("layers.0.mlp.down_proj"), ElementsAre(3.0f, 5.0f));
  EXPECT_TRUE(
      CheckInputNorms(ConfigOfKept(SmallConfig(), kept).value(), some).ok());
  EXPECT_TRUE(NormsOfKept(SmallConfig(), kept, {}).empty());
}

TEST_F(InputStatisticsTest, AStreamOfZerosIsNoDirection) {
  Pass(0, 0, 0);
  Pass(1, 1, 1);
  ASSERT_TRUE(Add(2, LayerInput::kLayer, {1, 1}, 2).ok());
  EXPECT_THAT(statistics_.Evidence()->layers,
              ElementsAre(1.0, DoubleNear(0, 1e-12)));
}

TEST_F(InputStatisticsTest, WhatTheModelDoesNotHaveIsRefused) {
  const auto refused = [](const absl::Status& status, const char* words) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  refused(Add(-1, LayerInput::kQkv, {1, 2}, 2), "layer -1");
  refused(Add(2, LayerInput::kQkv, {1, 2}, 2), "layer 2");
  refused(Add(3, LayerInput::kLayer, {1, 2}, 2), "layer 3");
  refused(Add(0, LayerInput::kDown, {1, 2}, 2), "rows of 2");
  refused(Add(0, LayerInput::kDown, {1, 2, 3, 4}, 3), "4 values");
  ASSERT_TRUE(Add(0, LayerInput::kLayer, {1, 2, 3, 4}, 2).ok());
  refused(Add(1, LayerInput::kLayer, {1, 2}, 2), "4 went in");
  const absl::Status damaged =
      Add(0, LayerInput::kOut, {1, 2, testing::kNaN<float>, 4}, 4);
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
}

TEST_F(InputStatisticsTest, WithoutAnythingThereIsNoEvidence) {
  EXPECT_TRUE(absl::IsFailedPrecondition(statistics_.Evidence().status()));
}

}  // namespace
}  // namespace edgetune
