#include "models/shrink/importance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/models_shrink/whole_model.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::LayerTensor;
using testing::OpenTinyModel;
using testing::SomeNorms;
using testing::WholeTensor;

class ImportanceTest : public ::testing::Test {
 protected:
  ImportanceTest()
      : model_(OpenTinyModel(scratch_, {.heads = 8, .kv_heads = 4})),
        reader_(*model_, 0, {}),
        norms_(SomeNorms(model_->config())) {}

  // Sum of (w * norm)^2 over the places of a matrix that `counts` takes.
  double Sum(const std::string& part, int64_t layer, const InputNorms& norms,
             const std::function<bool(int64_t, int64_t)>& counts) const {
    const std::string linear = "layers." + std::to_string(layer) + "." + part;
    const std::string name = LayerTensor(layer, part + ".weight");
    const std::vector<float> w = WholeTensor(*model_, name);
    const int64_t columns = testing::InfoOf(*model_, name)->columns();
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / columns,
                 column = static_cast<int64_t>(i) % columns;
      if (!counts(row, column)) continue;
      const double norm =
          norms.empty() ? 1.0 : double{norms.at(linear)[column]};
      sum += std::pow(w[i] * norm, 2);
    }
    return sum;
  }

  const testing::ScratchDirectory scratch_;
  const std::unique_ptr<ModelFile> model_;
  WeightReader reader_;
  const InputNorms norms_;
};

TEST_F(ImportanceTest, AChannelCountsItsRowsAndItsColumn) {
  for (const InputNorms& norms : {InputNorms{}, norms_}) {
    const auto scores =
        ChannelScores(model_->config(), 1, norms, &reader_).value();
    ASSERT_EQ(scores.size(), 96u);
    for (int64_t c = 0; c < 96; ++c) {
      const auto row = [c](int64_t r, int64_t) { return r == c; };
      const auto column = [c](int64_t, int64_t i) { return i == c; };
      const double squares = Sum("mlp.gate_proj", 1, norms, row) +
                             Sum("mlp.up_proj", 1, norms, row) +
                             Sum("mlp.down_proj", 1, norms, column);
      EXPECT_NEAR(scores[c], std::sqrt(squares), 1e-9 * scores[c]);
    }
  }
}

TEST_F(ImportanceTest, AGroupCountsItsHeads) {
  for (const InputNorms& norms : {InputNorms{}, norms_}) {
    const auto scores =
        GroupScores(model_->config(), 0, norms, &reader_).value();
    ASSERT_EQ(scores.size(), 4u);
    for (int64_t g = 0; g < 4; ++g) {
      const double squares =
          Sum("self_attn.q_proj", 0, norms,
              [g](int64_t r, int64_t) { return r / 16 == g; }) +
          Sum("self_attn.k_proj", 0, norms,
              [g](int64_t r, int64_t) { return r / 8 == g; }) +
          Sum("self_attn.v_proj", 0, norms,
              [g](int64_t r, int64_t) { return r / 8 == g; }) +
          Sum("self_attn.o_proj", 0, norms,
              [g](int64_t, int64_t i) { return i / 16 == g; });
      EXPECT_NEAR(scores[g], std::sqrt(squares), 1e-9 * scores[g]);
    }
  }
}

TEST_F(ImportanceTest, TheSquaresOfALayersPartsAddUpToItsOwn) {
  for (const InputNorms& norms : {InputNorms{}, norms_}) {
    const auto channels =
        ChannelScores(model_->config(), 1, norms, &reader_).value();
    const auto groups =
        GroupScores(model_->config(), 1, norms, &reader_).value();
    double parts = 0;
    for (const double score : channels) parts += score * score;
    for (const double score : groups) parts += score * score;
    const double layer =
        LayerScore(model_->config(), 1, norms, &reader_).value();
    EXPECT_NEAR(layer * layer, parts, 1e-9 * parts);
  }
}

TEST_F(ImportanceTest, TheLargestStayInTheirOrderAndTheFirstOfEqualOnes) {
  const std::vector<double> scores = {2, 5, 2, 9, 2, 5};
  EXPECT_THAT(LargestOf(scores, 3), ElementsAre(1, 3, 5));
  EXPECT_THAT(LargestOf(scores, 2), ElementsAre(1, 3));
  EXPECT_THAT(LargestOf(scores, 4), ElementsAre(0, 1, 3, 5));
  EXPECT_THAT(LargestOf(scores, 5), ElementsAre(0, 1, 2, 3, 5));
  EXPECT_THAT(LargestOf(scores, 6), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(ImportanceTest, NormsThatDoNotFitAreRefused) {
  EXPECT_TRUE(CheckInputNorms(model_->config(), {}).ok());
  EXPECT_TRUE(CheckInputNorms(model_->config(), norms_).ok());
  const auto expect_refused = [&](auto change, const char* words) {
    InputNorms norms = norms_;
    change(norms);
    const absl::Status status = CheckInputNorms(model_->config(), norms);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  const char* const kDown = "layers.1.mlp.down_proj";
  expect_refused([&](InputNorms& n) { n.erase(kDown); },
                 "no input norms for layers.1.mlp.down_proj");
  expect_refused([&](InputNorms& n) { n[kDown].pop_back(); },
                 "95 input norms for layers.1.mlp.down_proj");
  expect_refused([&](InputNorms& n) { n[kDown][3] = -1; }, "is -1");
  expect_refused(
      [&](InputNorms& n) {
        n[kDown][3] = std::numeric_limits<float>::quiet_NaN();
      },
      "is nan");
  expect_refused([&](InputNorms& n) { n["layers.2.mlp.down_proj"] = {1}; },
                 "norms for 15 linears");
}

}  // namespace
}  // namespace edgetune
