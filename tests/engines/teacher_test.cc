// What a teacher says of a student's tokens. Its numbers are compared with
// transformers' in tests/training_torch (distiller_test.cc) and between the
// engines in random_models_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tests/engines/engine_under_test.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::ListSource;
using testing::MakeTeacherUnderTest;

LabelledTokens TextOf(std::vector<int32_t> tokens, size_t from = 1) {
  LabelledTokens out;
  out.labelled.resize(tokens.size());
  std::fill(out.labelled.begin() + static_cast<std::ptrdiff_t>(from),
            out.labelled.end(), 1);
  out.tokens = std::move(tokens);
  return out;
}

class TeacherTest : public ::testing::Test {
 protected:
  TeacherTest()
      : model_(Open({})),
        student_(model_->config()),
        texts_({TextOf({1, 40, 7, 260, 19, 2}), TextOf({5, 6, 299, 8}, 3)}) {}

  std::shared_ptr<const ModelFile> Open(
      const testing::TinyModelOptions& options) {
    const std::string path = scratch_.File("model.gguf");
    EXPECT_TRUE(WriteTinyModel(path, options).ok());
    return *ModelFile::Open(path);
  }
  std::unique_ptr<Teacher> Make(std::vector<int32_t> tokens = {}) {
    ModelConfig student = student_;
    if (!tokens.empty()) student.vocab = static_cast<int64_t>(tokens.size());
    auto made =
        MakeTeacherUnderTest(model_, student, std::move(tokens),
                             {.precision = Precision::kFp32, .threads = 2});
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  std::vector<TopTokens> TargetsOf(Teacher& teacher, const ListSource& texts,
                                   double temperature, int64_t k) {
    std::vector<TopTokens> out;
    int64_t told = 0;
    const auto status = teacher.ComputeTargets(
        texts, temperature, k,
        [&](const TopTokens& row) {
          out.push_back(row);
          return absl::OkStatus();
        },
        stop_, [&](int64_t done) { told = done; });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(told, static_cast<int64_t>(out.size()));
    return out;
  }
  absl::Status Ask(Teacher& teacher, double temperature, int64_t k) {
    return teacher.ComputeTargets(
        texts_, temperature, k,
        [](const TopTokens&) { return absl::OkStatus(); }, stop_, {});
  }

  const testing::ScratchDirectory scratch_;
  std::shared_ptr<const ModelFile> model_;
  ModelConfig student_;
  ListSource texts_;
  StopToken stop_{false};
};

TEST_F(TeacherTest, AllTokensAddUpToOneAndAnEvaluationIsTheLabels) {
  const auto teacher = Make();
  const auto all = TargetsOf(*teacher, texts_, 1, student_.vocab);
  const std::vector<int32_t> labels = {40, 7, 260, 19, 2, 8};
  ASSERT_EQ(all.size(), labels.size());
  double nll = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    double sum = 0;
    for (size_t j = 0; j < all[i].ids.size(); ++j) {
      ASSERT_EQ(all[i].ids[j], static_cast<int32_t>(j));
      sum += std::exp(double{all[i].log_probabilities[j]});
    }
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_EQ(all[i].log_rest, -INFINITY);
    nll -= all[i].log_probabilities[static_cast<size_t>(labels[i])];
  }
  const auto evaluated = teacher->Evaluate(texts_, 0, stop_);
  ASSERT_TRUE(evaluated.ok()) << evaluated.status();
  EXPECT_EQ(evaluated->tokens, 6);
  EXPECT_NEAR(evaluated->nll_sum, nll, 1e-4);
}

TEST_F(TeacherTest, FewTokensAreTheLargestOfAllAndTheOthersTogether) {
  const auto teacher = Make();
  const auto all = TargetsOf(*teacher, texts_, 2, student_.vocab);
  const auto few = TargetsOf(*teacher, texts_, 2, 5);
  ASSERT_EQ(few.size(), all.size());
  for (size_t i = 0; i < few.size(); ++i) {
    ASSERT_EQ(few[i].ids.size(), 5u);
    EXPECT_TRUE(std::ranges::is_sorted(few[i].ids));
    double others = 0;
    float least = 0, most = -INFINITY;
    for (size_t j = 0; j < 5; ++j) {
      const auto id = static_cast<size_t>(few[i].ids[j]);
      EXPECT_NEAR(few[i].log_probabilities[j], all[i].log_probabilities[id],
                  1e-5);
      least = std::min(least, few[i].log_probabilities[j]);
    }
    for (size_t id = 0; id < all[i].ids.size(); ++id) {
      if (std::ranges::count(few[i].ids, static_cast<int32_t>(id)) > 0)
        continue;
      others += std::exp(double{all[i].log_probabilities[id]});
      most = std::max(most, all[i].log_probabilities[id]);
    }
    EXPECT_LE(most, least);
    EXPECT_NEAR(few[i].log_rest, std::log(others), 1e-4);
  }
}

// Every third token of the teacher's, in falling order.
TEST_F(TeacherTest, OfFewerTokensItSaysTheirSharesAlone) {
  std::vector<int32_t> tokens;
  for (int32_t id = 299; id >= 0; id -= 3) tokens.push_back(id);
  const ListSource own({TextOf({1, 5, 0, 19, 99, 7})});
  std::vector<int32_t> translated;
  for (const int32_t id : own.Get(0).tokens) {
    translated.push_back(tokens[static_cast<size_t>(id)]);
  }
  const auto all = TargetsOf(*Make(), ListSource({TextOf(translated)}), 2, 300);
  const auto teacher = Make(tokens);
  const auto some = TargetsOf(*teacher, own, 2, 100);
  ASSERT_EQ(some.size(), 5u);
  ASSERT_EQ(all.size(), 5u);
  for (size_t i = 0; i < some.size(); ++i) {
    double kept = 0;
    for (const int32_t id : tokens) {
      kept +=
          std::exp(double{all[i].log_probabilities[static_cast<size_t>(id)]});
    }
    for (size_t j = 0; j < tokens.size(); ++j) {
      const auto id = static_cast<size_t>(tokens[j]);
      EXPECT_NEAR(some[i].log_probabilities[j],
                  all[i].log_probabilities[id] - std::log(kept), 1e-5);
    }
  }
  const auto warm = TargetsOf(*teacher, own, 1, 100);
  double nll = 0;
  for (size_t i = 0; i < warm.size(); ++i) {
    nll -=
        warm[i]
            .log_probabilities[static_cast<size_t>(own.Get(0).tokens[i + 1])];
  }
  EXPECT_NEAR(teacher->Evaluate(own, 0, stop_)->nll_sum, nll, 1e-4);
}

TEST_F(TeacherTest, WhatDoesNotFitIsRefusedByName) {
  const auto refused = [](const absl::Status& status, const char* words) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    return status.code();
  };
  const auto teacher = Make();
  for (const int64_t k : {0, 301}) {
    EXPECT_EQ(refused(Ask(*teacher, 2, k), "likeliest"),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(refused(Ask(*teacher, 0, 3), "temperature must lie"),
            absl::StatusCode::kInvalidArgument);
  student_.vocab = 299;
  for (const auto& tokens :
       {std::vector<int32_t>(), std::vector<int32_t>(299, 300),
        std::vector<int32_t>(299, -1), std::vector<int32_t>(298, 1)}) {
    EXPECT_EQ(
        refused(MakeTeacherUnderTest(model_, student_, tokens, {}).status(),
                "does not fit"),
        absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(TeacherTest, ATextLongerThanItsContextIsRefused) {
  student_.context = 1000;
  const auto teacher = Make();
  texts_ = ListSource({TextOf(std::vector<int32_t>(300, 1))});
  for (const auto& status :
       {Ask(*teacher, 2, 3), teacher->Evaluate(texts_, 0, stop_).status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("300 tokens, the teacher takes at most 256"));
  }
}

TEST_F(TeacherTest, WhatTheTakerRefusesAndAStopEndIt) {
  const auto teacher = Make();
  int64_t taken = 0;
  const auto status = teacher->ComputeTargets(
      texts_, 1, 3,
      [&](const TopTokens&) {
        return ++taken < 3 ? absl::OkStatus() : absl::DataLossError("full");
      },
      stop_, {});
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(taken, 3);
  stop_ = true;
  EXPECT_TRUE(absl::IsCancelled(Ask(*teacher, 1, 3)));
}

TEST_F(TeacherTest, LogitsOfDamagedWeightsAreNoTargets) {
  const std::string path = scratch_.File("damaged.gguf");
  ASSERT_TRUE(testing::WriteTinyModel(path).ok());
  {
    // The last weight of the last tensor, which all logits depend on.
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    file.seekp(-static_cast<std::streamoff>(sizeof nan), std::ios::end);
    file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  }
  model_ = *ModelFile::Open(path);
  const auto status = Ask(*Make(), 2, 3);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no numbers"));
}

}  // namespace
}  // namespace edgetune
