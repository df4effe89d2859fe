#include "models/io/quantise/quantising_encoder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "base/status.h"

namespace edgetune {
namespace {

using enum BlockType;
using ::testing::HasSubstr;

ModelConfig Model(bool tied, int64_t layers = 16) {
  ModelConfig model;
  model.layers = layers;
  model.tied = tied;
  return model;
}

BlockType TypeOf(const char* mix, const ModelConfig& model,
                 const std::string& name, int64_t columns = 512) {
  return MakeQuantisingEncoder(mix, model)
      .value()
      ->TypeOf({.name = name, .shape = {256, columns}});
}

std::string Layer(int64_t layer, const char* module) {
  return fmt::format("model.layers.{}.{}.weight", layer, module);
}

TEST(QuantisingEncoderTest, TheHeadIsFinerWhicheverMatrixServesAsIt) {
  EXPECT_EQ(TypeOf("q4_0", Model(true), "model.embed_tokens.weight"), kQ6_K);
  EXPECT_EQ(TypeOf("q4_0", Model(false), "model.embed_tokens.weight"), kQ4_0);
  EXPECT_EQ(TypeOf("q4_0", Model(false), "lm_head.weight"), kQ6_K);
  EXPECT_EQ(TypeOf("q8_0", Model(false), "lm_head.weight"), kQ8_0);
  // 576 columns are no whole blocks of 256.
  EXPECT_EQ(TypeOf("q4_k_m", Model(true), "model.embed_tokens.weight", 576),
            kQ8_0);
}

TEST(QuantisingEncoderTest, MixesSpareTheSensitiveLayers) {
  // Of 16 layers: 0, 1, 4, 7, 10, 13, 14 and 15.
  for (int64_t layer = 0; layer < 16; ++layer) {
    const bool spread = layer < 2 || layer >= 14 || (layer - 2) % 3 == 2;
    const std::string value = Layer(layer, "self_attn.v_proj");
    const std::string down = Layer(layer, "mlp.down_proj");
    EXPECT_EQ(TypeOf("q4_k_m", Model(true), value), spread ? kQ6_K : kQ4_K);
    EXPECT_EQ(TypeOf("q5_k_m", Model(true), down), spread ? kQ6_K : kQ5_K);
    EXPECT_EQ(TypeOf("q4_k_s", Model(true), value), layer < 4 ? kQ5_K : kQ4_K);
    EXPECT_EQ(TypeOf("q4_k_s", Model(true), down), layer < 2 ? kQ5_K : kQ4_K);
    EXPECT_EQ(TypeOf("q6_k", Model(true), down), kQ6_K);
    EXPECT_EQ(TypeOf("q4_k_m", Model(true), Layer(layer, "mlp.up_proj")),
              kQ4_K);
  }
}

TEST(QuantisingEncoderTest, VectorsStayFloats) {
  const auto encoder = MakeQuantisingEncoder("q4_0", Model(true)).value();
  EXPECT_EQ(encoder->TypeOf({.name = "model.norm.weight", .shape = {512}}),
            kF32);
}

TEST(QuantisingEncoderTest, RefusesWhatIsNotFinite) {
  const auto encoder = MakeQuantisingEncoder("q8_0", Model(true)).value();
  std::vector<float> values(32, 1);
  std::string out = "before";
  ASSERT_TRUE(encoder->Encode(kQ8_0, values, &out).ok());
  EXPECT_EQ(out.size(), 6u + 34);
  values[31] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(absl::IsInvalidArgument(encoder->Encode(kQ8_0, values, &out)));
  EXPECT_EQ(out.size(), 6u + 34);
}

TEST(QuantisingEncoderTest, AnUnknownMixIsAnsweredWithTheKnownOnes) {
  const auto status = MakeQuantisingEncoder("q3_k", Model(true)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(HintOf(status), HasSubstr("q4_k_m"));
}

}  // namespace
}  // namespace edgetune
