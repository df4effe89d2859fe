#include "models/shrink/sparse_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "base/random.h"
#include "base/status.h"
#include "models/shrink/score_cut.h"
#include "tests/models_shrink/whole_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::OpenTinyModel;
using testing::SomeNorms;
using testing::WholeTensor;

// A linear's weights in one piece, and what they count.
struct WholeLinear {
  std::string name;
  int64_t columns;
  std::vector<float> weights, scores;
};

std::vector<WholeLinear> LinearsOf(const ModelFile& model,
                                   const InputNorms& norms) {
  std::vector<WholeLinear> out;
  for (int64_t layer = 0; layer < model.config().layers; ++layer) {
    for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
      const std::string module =
          "layers." + std::to_string(layer) + "." + kLlamaLinears[i].module;
      WholeLinear linear = {"model." + module + ".weight",
                            LlamaLinearShape(model.config(), i).in,
                            {},
                            {}};
      linear.weights = WholeTensor(model, linear.name);
      for (size_t at = 0; at < linear.weights.size(); ++at) {
        const float norm =
            norms.empty() ? 1.0f : norms.at(module)[at % linear.columns];
        linear.scores.push_back(std::fabs(linear.weights[at]) * norm);
      }
      out.push_back(std::move(linear));
    }
  }
  return out;
}

// (score, matrix, place): the order in which weights go.
using Rank = std::tuple<float, size_t, size_t>;

void ZeroFirst(std::vector<Rank> ranks, size_t count,
               std::vector<WholeLinear>* linears) {
  std::sort(ranks.begin(), ranks.end());
  for (size_t i = 0; i < count; ++i) {
    (*linears)[std::get<1>(ranks[i])].weights[std::get<2>(ranks[i])] = 0;
  }
}

// By sorting everything.
std::vector<WholeLinear> Thinned(const ModelFile& model,
                                 const Sparsity& sparsity,
                                 const InputNorms& norms) {
  std::vector<WholeLinear> out = LinearsOf(model, norms);
  std::vector<Rank> all;
  for (size_t m = 0; m < out.size(); ++m) {
    std::vector<Rank> matrix, row, group;
    const WholeLinear linear = out[m];
    for (size_t at = 0; at < linear.weights.size(); ++at) {
      const Rank rank = {linear.scores[at], m, at};
      for (auto* ranks : {&all, &matrix, &row, &group}) ranks->push_back(rank);
      if (sparsity.pattern && group.size() == size_t(sparsity.pattern->of)) {
        ZeroFirst(group, sparsity.pattern->of - sparsity.pattern->kept, &out);
        group.clear();
      }
      if (row.size() == size_t(linear.columns)) {
        if (sparsity.share && sparsity.scope == SparseScope::kRow) {
          ZeroFirst(row, size_t(*sparsity.share * row.size()), &out);
        }
        row.clear();
      }
    }
    if (sparsity.share && sparsity.scope == SparseScope::kMatrix) {
      ZeroFirst(matrix, size_t(*sparsity.share * matrix.size()), &out);
    }
  }
  if (sparsity.share && sparsity.scope == SparseScope::kModel) {
    ZeroFirst(all, size_t(*sparsity.share * all.size()), &out);
  }
  return out;
}

class SparseModelTest : public ::testing::Test {
 protected:
  void ExpectSorted(const ModelFile& model, const Sparsity& sparsity,
                    const InputNorms& norms) const {
    const auto sparse = MakeSparseModel(model, sparsity, norms).value();
    std::set<std::string> changed;
    for (const WholeLinear& linear : Thinned(model, sparsity, norms)) {
      EXPECT_EQ(WholeTensor(*sparse, linear.name), linear.weights)
          << linear.name;
      changed.insert(linear.name);
      // One row, from the middle, is what it is in the whole.
      const int64_t row =
          static_cast<int64_t>(linear.weights.size()) / linear.columns / 2;
      std::vector<float> one(static_cast<size_t>(linear.columns));
      ASSERT_TRUE(sparse->ReadRows(linear.name, row, row + 1, one).ok());
      EXPECT_TRUE(std::equal(one.begin(), one.end(),
                             linear.weights.begin() + row * linear.columns));
    }
    for (const TensorInfo& info : model.tensors()) {
      if (changed.contains(info.name)) continue;
      EXPECT_EQ(WholeTensor(*sparse, info.name), WholeTensor(model, info.name));
    }
  }

  const testing::ScratchDirectory scratch_;
};

constexpr Sparsity Share(double share, SparseScope scope) {
  return {share, scope, std::nullopt};
}
constexpr Sparsity Pattern(int64_t kept, int64_t of) {
  return {std::nullopt, SparseScope::kMatrix, NOfM{kept, of}};
}

TEST_F(SparseModelTest, ZeroesWhatSortingWouldZero) {
  const auto model =
      OpenTinyModel(scratch_, {.hidden = 32, .ffn = 64, .layers = 1});
  for (const InputNorms& norms : {InputNorms{}, SomeNorms(model->config())}) {
    for (const SparseScope scope :
         {SparseScope::kModel, SparseScope::kMatrix, SparseScope::kRow}) {
      for (const double share : {0.001, 0.37, 0.99}) {
        ExpectSorted(*model, Share(share, scope), norms);
      }
    }
    ExpectSorted(*model, Pattern(2, 4), norms);
    ExpectSorted(*model, Pattern(1, 32), norms);
    ExpectSorted(*model, Pattern(3, 4), norms);
  }
}

TEST_F(SparseModelTest, TheFirstOfEqualWeightsGoFirst) {
  // Four bits: many weights of a block are equal, and many are zero.
  const auto model = OpenTinyModel(scratch_, {.linear_type = BlockType::kQ4_0});
  for (const SparseScope scope :
       {SparseScope::kModel, SparseScope::kMatrix, SparseScope::kRow}) {
    ExpectSorted(*model, Share(0.31, scope), {});
  }
  ExpectSorted(*model, Pattern(2, 4), {});
}

TEST_F(SparseModelTest, TheNumberOfZerosIsExact) {
  const auto model = OpenTinyModel(scratch_);
  const ModelConfig& config = model->config();
  // 2 layers of q 64x64, k and v 32x64, o 64x64, gate, up, down 64x96.
  EXPECT_EQ(SparseValuesOf(config), 2u * (3 * 64 * 64 + 3 * 64 * 96));
  for (const Sparsity& sparsity :
       {Share(0.5, SparseScope::kModel), Share(0.333, SparseScope::kMatrix),
        Share(0.333, SparseScope::kRow), Pattern(2, 4), Pattern(1, 8)}) {
    const auto sparse = MakeSparseModel(*model, sparsity, {}).value();
    uint64_t zeros = 0;
    for (const WholeLinear& linear : LinearsOf(*sparse, {})) {
      zeros += static_cast<uint64_t>(
          std::count(linear.weights.begin(), linear.weights.end(), 0.0f));
    }
    EXPECT_EQ(zeros, ZerosOf(config, sparsity));
  }
  EXPECT_EQ(ZerosOf(config, Share(0.5, SparseScope::kModel)),
            SparseValuesOf(config) / 2);
  EXPECT_EQ(ZerosOf(config, Pattern(1, 8)), SparseValuesOf(config) / 8 * 7);
  // 21 of 64 columns, 31 of 96.
  EXPECT_EQ(ZerosOf(config, Share(0.333, SparseScope::kRow)),
            2u * (192 * 21 + 192 * 21 + 64 * 31));
}

TEST_F(SparseModelTest, TensorsOfBlocksBecomeFloats) {
  const auto model = OpenTinyModel(
      scratch_,
      {.linear_type = BlockType::kQ8_0, .embedding_type = BlockType::kQ8_0});
  const auto sparse = MakeSparseModel(*model, Pattern(2, 4), {}).value();
  const auto type = [&](const char* name) {
    return testing::InfoOf(*sparse, name)->type;
  };
  EXPECT_EQ(type("model.layers.0.mlp.up_proj.weight"), "F32");
  EXPECT_EQ(type("model.embed_tokens.weight"), "Q8_0");
  EXPECT_FALSE(sparse->Stored("model.layers.0.mlp.up_proj.weight").has_value());
  EXPECT_TRUE(sparse->Stored("model.embed_tokens.weight").has_value());
}

TEST_F(SparseModelTest, WhatCannotBeIsRefusedByName) {
  const auto model = OpenTinyModel(scratch_);
  const auto expect_refused = [&](const Sparsity& sparsity, const char* words) {
    const absl::Status status = MakeSparseModel(*model, sparsity, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  for (const double share :
       {0.0, 1.0, -0.1, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_refused(Share(share, SparseScope::kModel), "of the weights zero");
  }
  expect_refused(Pattern(0, 4), "cannot keep 0 of every 4");
  expect_refused(Pattern(4, 4), "cannot keep 4 of every 4");
  expect_refused(Pattern(1, 512), "cannot keep 1 of every 512");
  expect_refused(Pattern(2, 5),
                 "2:5 does not divide the 64 columns of "
                 "model.layers.0.self_attn.q_proj.weight");
  // 64 divides, 96 does not.
  expect_refused(Pattern(2, 64), "the 96 columns of");
  expect_refused({}, "either");
  expect_refused({0.5, SparseScope::kRow, NOfM{2, 4}}, "either");
  InputNorms norms = SomeNorms(model->config());
  norms.erase(norms.begin());
  EXPECT_FALSE(MakeSparseModel(*model, Pattern(2, 4), norms).ok());
  std::vector<float> row(64);
  const auto sparse = MakeSparseModel(*model, Pattern(2, 4), {}).value();
  EXPECT_FALSE(sparse->ReadRows("none", 0, 1, row).ok());
  EXPECT_FALSE(
      sparse->ReadRows("model.layers.0.mlp.up_proj.weight", 96, 97, row).ok());
}

TEST_F(SparseModelTest, WhatEndsTheProgressEndsTheSearch) {
  const auto model = OpenTinyModel(scratch_);
  const auto made = MakeSparseModel(
      *model, Share(0.5, SparseScope::kModel), {},
      [](uint64_t, uint64_t) { return absl::CancelledError("enough"); });
  EXPECT_EQ(made.status().code(), absl::StatusCode::kCancelled);
  uint64_t last = 0, all = 0;
  EXPECT_TRUE(MakeSparseModel(*model, Share(0.5, SparseScope::kMatrix), {},
                              [&](uint64_t done, uint64_t total) {
                                last = done;
                                all = total;
                                return absl::OkStatus();
                              })
                  .ok());
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, 3 * SparseValuesOf(model->config()));
}

TEST(ScoreCutTest, HasExactlyAsManyBelowAsWereAskedFor) {
  Random random(3);
  std::vector<uint32_t> scores;
  for (int i = 0; i < 3000; ++i) {
    // Few values, so that most are tied; among them those of both ends.
    scores.push_back(static_cast<uint32_t>(random.Below(40)) * 0x0123457u);
  }
  scores[100] = 0xFFFFFFFFu;
  const ScoreScan scan = [&](const auto& visit) {
    visit(std::span(scores).first(1000));
    visit(std::span(scores).subspan(1000));
    return absl::OkStatus();
  };
  for (const size_t count : {0u, 1u, 2u, 77u, 1500u, 2999u, 3000u}) {
    const ScoreCut cut = CutBelow(count, scan).value();
    std::vector<std::pair<uint32_t, size_t>> below, sorted;
    for (size_t i = 0; i < scores.size(); ++i) {
      sorted.emplace_back(scores[i], i);
      if (cut.IsBelow(scores[i], i)) below.emplace_back(scores[i], i);
    }
    std::sort(sorted.begin(), sorted.end());
    std::sort(below.begin(), below.end());
    sorted.resize(count);
    EXPECT_EQ(below, sorted) << count;
  }
}

TEST(SparsityTest, StorageIsCountedInBits) {
  // 1024 values: half of them in 16 bits, and 2 bits each for their places.
  EXPECT_EQ(PatternBytes(1024, {2, 4}, 16), 512u * 2 + 512 / 4);
  EXPECT_EQ(PatternBytes(1024, {2, 4}, 8), 512u + 128);
  // A place among 8 takes 3 bits, among 6 as well.
  EXPECT_EQ(PatternBytes(64, {1, 8}, 32), 8u * 4 + 3);
  EXPECT_EQ(PatternBytes(60, {1, 6}, 32), 10u * 4 + 4);
  EXPECT_EQ(BitmapBytes(1024, 512, 16), 128u + 1024);
  EXPECT_EQ(BitmapBytes(1001, 10, 32), 126u + 40);
  EXPECT_EQ(BitmapBytes(1 << 20, 0, 32), 1u << 17);
}

TEST(SparsityTest, PatternsAreTwoNumbers) {
  EXPECT_EQ(ParseNOfM("2:4")->kept, 2);
  EXPECT_EQ(ParseNOfM("2:4")->of, 4);
  for (const char* text : {"", "2", "2:", ":4", "2:4:6", "2/4", "a:4", "2:b",
                           "2 :4", "2:4 ", "99999999999999999999:4"}) {
    const absl::Status status = ParseNOfM(text).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kUsage) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("is not N:M"));
  }
}

}  // namespace
}  // namespace edgetune
