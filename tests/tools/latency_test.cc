#include "tools/local/latency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/status.h"
#include "tools/percentile.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

// Answers with as many tokens as asked for, or fewer; remembers its prompts.
class CountingModel final : public LanguageModel {
 public:
  absl::Status SetAdapter(const Adapter*) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<float>> ScoreTokens(
      std::span<const int32_t>) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::vector<float>> NextLogits(
      std::span<const int32_t>) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::vector<int32_t>> Generate(
      std::span<const int32_t> prompt, const GenerateOptions& options,
      const std::function<bool(int32_t)>& on_token) override {
    prompts.emplace_back(prompt.begin(), prompt.end());
    EXPECT_TRUE(options.stop_tokens.empty());
    EXPECT_EQ(options.temperature, 0);
    std::vector<int32_t> answer;
    while (static_cast<int64_t>(answer.size()) < options.max_tokens - missing) {
      answer.push_back(1);
      if (!on_token(1)) break;
    }
    return answer;
  }

  std::vector<std::vector<int32_t>> prompts;
  int64_t missing = 0;
};

TEST(LatencyTest, EachRunReadsAPromptThatBeginsOtherwiseAndOneWarmsUp) {
  CountingModel model;
  const auto runs =
      MeasureLatency(model, 30, {.prompt = 12, .tokens = 5, .repeat = 4});
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 4);
  ASSERT_EQ(model.prompts.size(), 5);
  std::set<int32_t> beginnings;
  for (const auto& prompt : model.prompts) {
    EXPECT_EQ(prompt.size(), 12);
    beginnings.insert(prompt[0]);
    for (const int32_t id : prompt) EXPECT_TRUE(0 <= id && id < 30);
  }
  EXPECT_EQ(beginnings.size(), 5);
  for (const LatencyRun& run : *runs) {
    EXPECT_EQ(run.tokens.size(), 4);
    EXPECT_GE(run.first_token, 0);
    for (const double seconds : run.tokens) EXPECT_GE(seconds, 0);
  }
}

TEST(LatencyTest, AnAnswerThatIsTooShortIsNotMeasured) {
  CountingModel model;
  model.missing = 1;
  const auto runs =
      MeasureLatency(model, 30, {.prompt = 2, .tokens = 5, .repeat = 1});
  EXPECT_TRUE(absl::IsInternal(runs.status()));
  EXPECT_THAT(runs.status().ToString(), HasSubstr("4 tokens, wanted 5"));
}

TEST(LatencyTest, FiguresAreMediansOfRunsAndPercentilesOfAllTokens) {
  // Rates of 2, 8 and 4 tokens a second.
  const std::vector<LatencyRun> runs = {
      {3.0, {0.25, 0.75}}, {1.0, {0.125, 0.125}}, {2.0, {0.25, 0.25}}};
  const LatencyFigures figures = FiguresOf({.prompt = 10}, runs);
  EXPECT_DOUBLE_EQ(figures.first_token, 2);
  EXPECT_DOUBLE_EQ(figures.prompt_per_second, 5);
  EXPECT_DOUBLE_EQ(figures.tokens_per_second, 4);
  EXPECT_DOUBLE_EQ(figures.token_p50, 0.25);
  EXPECT_DOUBLE_EQ(figures.token_p99, 0.75);
}

TEST(LatencyTest, JsonHasEverySampleAndTheTableARowEach) {
  const std::vector<LatencyRun> runs = {{0.5, {0.01, 0.02}}};
  const auto json = LatencyJson({.prompt = 100}, runs, 5'000'000);
  EXPECT_EQ(json["prompt_tokens"], 100);
  EXPECT_EQ(json["runs"][0]["first_token_s"], 0.5);
  EXPECT_EQ(json["runs"][0]["token_s"], (std::vector<double>{0.01, 0.02}));
  EXPECT_EQ(json["peak_resident_bytes"], 5'000'000);
  const std::string table = LatencyTable(nlohmann::json::array({json}));
  EXPECT_THAT(table, HasSubstr("500.0 ms"));
  EXPECT_THAT(table, HasSubstr("200.0"));
  EXPECT_THAT(table, HasSubstr("66.7"));
  EXPECT_THAT(table, HasSubstr("5.0 MB"));
}

// Sorted values, and their percentiles 0, 1, 50, 90, 99, 100 by NumPy
// (make_percentile_vectors.py).
struct Percentiles {
  std::vector<double> values, wanted;
};

TEST(PercentileTest, IsNumPysByNearestRank) {
  const Percentiles kVectors[] = {
      {{5.134}, {5.134, 5.134, 5.134, 5.134, 5.134, 5.134}},
      {{3.932, 11.401}, {3.932, 3.932, 3.932, 11.401, 11.401, 11.401}},
      {{7.547, 8.486, 13.852}, {7.547, 7.547, 8.486, 13.852, 13.852, 13.852}},
      {{0.641, 2.33, 3.671, 4.431, 6.691, 8.125, 8.921},
       {0.641, 0.641, 4.431, 8.921, 8.921, 8.921}},
      {{1.161, 2.638, 2.85, 3.399, 4.241, 6.471, 7.42, 8.324, 9.342, 10.577},
       {1.161, 1.161, 4.241, 9.342, 10.577, 10.577}},
      {{0.449,  0.637,  0.803,  0.842,  1.046,  1.126,  1.146,  1.184,  1.224,
        1.532,  1.854,  2.027,  2.388,  2.447,  2.631,  2.661,  2.661,  2.688,
        2.754,  2.756,  3.087,  3.09,   3.12,   3.165,  3.257,  3.338,  3.344,
        3.417,  3.439,  3.485,  3.517,  3.544,  3.917,  4.024,  4.046,  4.091,
        4.19,   4.298,  4.342,  4.39,   4.903,  4.936,  5.033,  5.086,  5.173,
        5.319,  5.355,  5.369,  5.504,  5.603,  5.779,  5.781,  5.824,  5.925,
        6.006,  6.039,  6.081,  6.29,   6.293,  6.419,  6.449,  6.645,  6.658,
        7.026,  7.093,  7.16,   7.335,  7.496,  7.561,  7.589,  7.599,  7.606,
        7.683,  7.695,  7.775,  7.798,  7.845,  7.868,  8.54,   8.736,  8.759,
        8.928,  9.287,  9.69,   9.942,  10.064, 10.497, 10.814, 11.638, 11.927,
        12.069, 12.079, 12.154, 12.516, 13.95,  14.84,  15.627, 17.645, 18.415,
        18.613},
       {0.449, 0.449, 5.603, 11.927, 18.415, 18.613}},
      {{0.405,  0.506,  0.658,  0.754,  1.041,  1.126,  1.15,   1.503,  1.529,
        1.655,  1.922,  2.319,  2.469,  2.582,  2.605,  2.618,  2.781,  2.839,
        3.032,  3.113,  3.118,  3.166,  3.265,  3.357,  3.43,   3.467,  3.494,
        3.554,  3.891,  3.893,  3.983,  3.994,  4.151,  4.17,   4.182,  4.226,
        4.339,  4.359,  4.528,  4.587,  4.703,  4.705,  4.836,  4.85,   4.865,
        5.108,  5.446,  5.48,   5.614,  5.669,  5.67,   5.707,  5.758,  6.092,
        6.227,  6.33,   6.437,  6.472,  6.501,  6.549,  6.57,   6.582,  6.588,
        6.703,  6.864,  6.901,  6.955,  6.999,  7.0,    7.05,   7.214,  7.368,
        7.412,  7.531,  7.711,  7.742,  7.777,  8.447,  8.494,  8.554,  8.803,
        9.034,  9.543,  9.573,  9.601,  9.881,  9.909,  10.244, 10.253, 10.258,
        11.084, 11.706, 11.743, 11.908, 12.805, 13.024, 13.564, 13.674, 14.115,
        14.384, 15.25},
       {0.405, 0.506, 5.67, 11.084, 14.384, 15.25}},
  };
  constexpr int kPercents[] = {0, 1, 50, 90, 99, 100};
  for (const Percentiles& vector : kVectors) {
    for (size_t i = 0; i < vector.wanted.size(); ++i) {
      EXPECT_EQ(Percentile(vector.values, kPercents[i]), vector.wanted[i])
          << kPercents[i] << " of " << vector.values.size();
    }
  }
}

TEST(PercentileTest, OfNothingIsZero) {
  EXPECT_EQ(Percentile(std::vector<double>(), 50), 0);
}

}  // namespace
}  // namespace edgetune
