#include "models/io/adapter/merged_model.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

constexpr char kQuery[] = "model.layers.1.self_attn.q_proj.weight";

class MergedModelTest : public ::testing::Test {
 protected:
  MergedModelTest() {
    const std::string path = directory_.File("tiny.gguf");
    EXPECT_TRUE(
        testing::WriteTinyModel(path, {.linear_type = BlockType::kQ8_0}).ok());
    model_ = ModelFile::Open(path).value();
    adapter_.spec = {3, 6, {"q_proj", "down_proj"}};
    adapter_.spec.exceptions["layers.1.self_attn.q_proj"] = {2, 5};
    adapter_.layout = AdapterLayoutOf(model_->config(), adapter_.spec).value();
    Random random(4);
    for (size_t i = 0; i < adapter_.layout.size(); ++i) {
      adapter_.values.push_back(static_cast<float>(random.Normal()));
    }
  }
  std::vector<float> Rows(const TensorSource& source, const std::string& name,
                          int64_t begin, int64_t end, int64_t columns) const {
    std::vector<float> rows(static_cast<size_t>((end - begin) * columns));
    EXPECT_TRUE(source.ReadRows(name, begin, end, rows).ok());
    return rows;
  }
  const float* Values(const std::string& name) const {
    for (const auto& tensor : adapter_.layout.tensors()) {
      if (tensor.name == name) return adapter_.values.data() + tensor.offset;
    }
    ADD_FAILURE() << name;
    return nullptr;
  }

  const testing::ScratchDirectory directory_;
  std::unique_ptr<ModelFile> model_;
  Adapter adapter_;
};

TEST_F(MergedModelTest, AddsTheScaledProductOfItsFactors) {
  const auto merged = MakeMergedSource(*model_, adapter_);
  const std::vector<float> base = Rows(*model_, kQuery, 5, 9, 64);
  const std::vector<float> rows = Rows(*merged, kQuery, 5, 9, 64);
  const float* a = Values("layers.1.self_attn.q_proj.lora_A");
  const float* b = Values("layers.1.self_attn.q_proj.lora_B");
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t i = 0; i < 64; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < 2; ++k) {
        sum += double{b[(5 + row) * 2 + k]} * a[k * 64 + i];
      }
      const auto at = static_cast<size_t>(row * 64 + i);
      // Two float32 products of values about 1.
      EXPECT_NEAR(rows[at], base[at] + 5.0 / 2 * sum, 1e-5);
    }
  }
}

TEST_F(MergedModelTest, LeavesTheOtherTensorsAlone) {
  const auto merged = MakeMergedSource(*model_, adapter_);
  ASSERT_EQ(merged->tensors().size(), model_->tensors().size());
  for (size_t i = 0; i < model_->tensors().size(); ++i) {
    const TensorInfo& tensor = merged->tensors()[i];
    EXPECT_EQ(tensor.name, model_->tensors()[i].name);
    const bool trained = tensor.name.ends_with("q_proj.weight") ||
                         tensor.name.ends_with("down_proj.weight");
    EXPECT_EQ(tensor.type, trained ? "F32" : model_->tensors()[i].type);
    const int64_t columns = tensor.shape.back();
    EXPECT_EQ(Rows(*merged, tensor.name, 0, 1, columns) ==
                  Rows(*model_, tensor.name, 0, 1, columns),
              !trained)
        << tensor.name;
  }
}

TEST_F(MergedModelTest, RefusesWhatTheModelRefuses) {
  const auto merged = MakeMergedSource(*model_, adapter_);
  std::vector<float> row(64);
  EXPECT_FALSE(merged->ReadRows("none", 0, 1, row).ok());
  EXPECT_FALSE(merged->ReadRows(kQuery, 64, 65, row).ok());
}

}  // namespace
}  // namespace edgetune
