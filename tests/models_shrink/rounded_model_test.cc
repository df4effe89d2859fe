#include "models/shrink/rounded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "base/random.h"
#include "models/io/model_writer.h"
#include "models/io/quantise/quantise.h"
#include "models/io/quantise/quantising_encoder.h"
#include "tests/models_shrink/whole_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::OpenTinyModel;

constexpr char kQuery[] = "model.layers.0.self_attn.q_proj.weight";
constexpr char kDown[] = "model.layers.1.mlp.down_proj.weight";

const TensorInfo& OwnInfoOf(const ModelFile& model, const std::string& name) {
  return *std::ranges::find(model.tensors(), name, &TensorInfo::name);
}

std::vector<float> ValuesOf(const ModelFile& model, const std::string& name) {
  const TensorInfo& info = OwnInfoOf(model, name);
  std::vector<float> out(static_cast<size_t>(info.rows() * info.columns()));
  EXPECT_TRUE(model.ReadRows(name, 0, info.rows(), out).ok());
  return out;
}

class RoundedModelTest : public ::testing::Test {
 protected:
  RoundedModelTest() : model_(OpenTinyModel(scratch_)) {}

  // Blocks that plain rounding of the model's own weights would not make.
  RoundedTensor Other(const std::string& name, BlockType type) const {
    const TensorInfo& info = OwnInfoOf(*model_, name);
    Random random(5);
    std::vector<float> values(
        static_cast<size_t>(info.rows() * info.columns()));
    for (float& value : values) value = static_cast<float>(random.Normal());
    const BlockShape shape = BlockShapeOf(type);
    RoundedTensor out{type, {}};
    out.bytes.resize(values.size() / shape.elements * shape.bytes);
    Quantise(type, values, out.bytes);
    // The lowest level of each block to the next: no scale comes of this.
    for (size_t i = 2; i < out.bytes.size(); i += shape.bytes) {
      if ((out.bytes[i] & 15) == 0) ++out.bytes[i];
    }
    return out;
  }

  const testing::ScratchDirectory scratch_;
  const std::unique_ptr<ModelFile> model_;
};

TEST_F(RoundedModelTest, ShowsTheBlocksAndTheRestOfTheModel) {
  const RoundedTensor query = Other(kQuery, BlockType::kQ4_0);
  const auto rounded = MakeRoundedModel(*model_, {{kQuery, query}});
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  std::vector<float> wanted(ValuesOf(*model_, kQuery).size());
  Dequantise(query.type, query.bytes, wanted);
  EXPECT_EQ(ValuesOf(**rounded, kQuery), wanted);
  EXPECT_EQ(ValuesOf(**rounded, kDown), ValuesOf(*model_, kDown));
  EXPECT_EQ(OwnInfoOf(**rounded, kQuery).type, "Q4_0");
  EXPECT_EQ(OwnInfoOf(**rounded, kQuery).bytes, query.bytes.size());
  EXPECT_EQ(OwnInfoOf(**rounded, kDown).type, OwnInfoOf(*model_, kDown).type);
  std::vector<float> some(3);
  EXPECT_TRUE(
      absl::IsInvalidArgument((*rounded)->ReadRows(kQuery, 0, 1, some)));
  EXPECT_TRUE(
      absl::IsInvalidArgument((*rounded)->ReadRows("none", 0, 1, some)));
}

TEST_F(RoundedModelTest, IsWrittenBlockByBlock) {
  const RoundedTensor query = Other(kQuery, BlockType::kQ4_0);
  const RoundedTensor down = Other(kDown, BlockType::kQ4_0);
  const auto rounded =
      MakeRoundedModel(*model_, {{kQuery, query}, {kDown, down}});
  ASSERT_TRUE(rounded.ok());
  const auto encoder = MakeQuantisingEncoder("q4_0", model_->config());
  ASSERT_TRUE(encoder.ok());
  const std::string path = scratch_.File("rounded.gguf");
  const absl::Status written =
      WriteGgufModel(path, DescriptionOf(*model_), **rounded, **encoder);
  ASSERT_TRUE(written.ok()) << written;
  const auto back = ModelFile::Open(path);
  ASSERT_TRUE(back.ok()) << back.status();
  // In this file rows of q stand in another order.
  EXPECT_EQ(ValuesOf(**back, kQuery), ValuesOf(**rounded, kQuery));
  EXPECT_EQ(ValuesOf(**back, kDown), ValuesOf(**rounded, kDown));
  // Plain rounding of the same values is not the same.
  std::vector<float> values = ValuesOf(**rounded, kDown);
  std::vector<uint8_t> again(down.bytes.size());
  Quantise(BlockType::kQ4_0, values, again);
  EXPECT_NE(again, down.bytes);
}

TEST_F(RoundedModelTest, WhatIsNotTheModelsIsRefused) {
  RoundedTensor query = Other(kQuery, BlockType::kQ4_0);
  const auto message = [&](const std::string& name, RoundedTensor tensor) {
    const auto made = MakeRoundedModel(*model_, {{name, std::move(tensor)}});
    EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
    return std::string(made.status().message());
  };
  EXPECT_THAT(message("none", query), HasSubstr("1 of 1 tensors"));
  query.bytes.pop_back();
  EXPECT_THAT(message(kQuery, query), HasSubstr("bytes of Q4_0"));
  EXPECT_THAT(message(kQuery, {BlockType::kQ6_K, query.bytes}),
              HasSubstr("bytes of Q6_K"));
}

}  // namespace
}  // namespace edgetune
