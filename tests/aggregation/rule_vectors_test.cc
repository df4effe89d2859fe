// Against NumPy: vectors/make_vectors.py, which follows the papers in float64.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "aggregation/combine_rule.h"
#include "aggregation/server_optimizer.h"
#include "gtest/gtest.h"

namespace edgetune {
namespace {

nlohmann::json CasesOf(const std::string& file) {
  std::ifstream in(EDGETUNE_SOURCE_DIR "/tests/aggregation/vectors/" + file);
  return nlohmann::json::parse(in)["cases"];
}

CombineOptions OptionsOf(const nlohmann::json& wanted) {
  CombineOptions options;
  options.rule = ParseCombineRule(wanted["rule"].get<std::string>()).value();
  options.limits = {.coordinates = wanted["result"].size(),
                    .bound = 64,
                    .weight_cap = 16384,
                    .max_updates = 128};
  options.trim = wanted.value("trim", 0.0);
  options.byzantine = wanted.value("byzantine", 0);
  options.kept = wanted.value("kept", 0);
  options.norm_bound = wanted.value("norm_bound", 0.0);
  return options;
}

// Results are float32, 6e-8 of a value; norm_bound also rounds each shortened
// coordinate.
void ExpectPoint(const nlohmann::json& wanted, const ParameterVector& got) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double value = wanted["result"][i];
    EXPECT_NEAR(got[i], value, 2e-7 * (1 + std::fabs(value)));
  }
}

// What a geometric median makes smallest.
double SumOfDistances(const nlohmann::json& wanted,
                      const std::vector<double>& point) {
  double sum = 0;
  for (size_t k = 0; k < wanted["updates"].size(); ++k) {
    double squares = 0;
    for (size_t i = 0; i < point.size(); ++i) {
      const double d = point[i] - wanted["updates"][k][i].get<double>();
      squares += d * d;
    }
    sum += wanted["weights"][k].get<double>() * std::sqrt(squares);
  }
  return sum;
}

// The minimum may be flat, and a hundred steps end somewhere on its floor: the
// sum of distances is what the robustness of RFA follows from. A step's rate
// is sublinear next to an update, hence 1e-5; the smoothing adds at most 1e-6
// for each weight.
void ExpectMinimum(const nlohmann::json& wanted, const ParameterVector& got) {
  double slack = 0;
  for (const double weight : wanted["weights"]) slack += 1e-6 * weight;
  const double least = SumOfDistances(wanted, wanted["result"]);
  EXPECT_LE(SumOfDistances(wanted, {got.begin(), got.end()}),
            least * (1 + 1e-5) + slack);
}

void ExpectCase(const nlohmann::json& wanted, size_t number) {
  auto aggregator = MakeAggregator(OptionsOf(wanted)).value();
  for (size_t k = 0; k < wanted["updates"].size(); ++k) {
    ASSERT_TRUE(aggregator
                    ->Accumulate(wanted["updates"][k].get<ParameterVector>(),
                                 wanted["weights"][k].get<double>())
                    .ok());
  }
  const auto result = aggregator->Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  SCOPED_TRACE(wanted["rule"].get<std::string>() + std::to_string(number));
  if (wanted["rule"] == "geometric_median") {
    ExpectMinimum(wanted, result->mean);
  } else {
    ExpectPoint(wanted, result->mean);
  }
  const std::vector<double> weights = wanted["weights"];
  double sum = 0;
  for (const double weight : weights) sum += weight;
  EXPECT_NEAR(result->weight_sum, sum, 1e-9 * sum);
  EXPECT_EQ(result->updates, std::ssize(weights));
}

TEST(RuleVectorsTest, EveryRuleMakesWhatNumPyMakes) {
  std::vector<std::string> seen;
  const auto cases = CasesOf("rules.json");
  for (size_t i = 0; i < cases.size(); ++i) {
    ExpectCase(cases[i], i);
    seen.push_back(cases[i]["rule"]);
  }
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  EXPECT_EQ(seen.size(), 8u);
}

ServerOptimizerOptions OptimizerOf(const nlohmann::json& wanted) {
  ServerOptimizerOptions options;
  options.kind =
      ParseServerOptimizer(wanted["optimizer"].get<std::string>()).value();
  options.lr = wanted["lr"];
  options.beta1 = wanted["beta1"];
  options.beta2 = wanted["beta2"];
  options.epsilon = wanted["epsilon"];
  return options;
}

// Moments and adapter are float32 between steps, here up to 10.
TEST(RuleVectorsTest, EveryServerOptimiserStepsAsInNumPy) {
  for (const auto& wanted : CasesOf("optimizers.json")) {
    ParameterVector adapter = wanted["adapter"];
    std::string state;  // stored and loaded between any two steps
    for (size_t step = 0; step < wanted["updates"].size(); ++step) {
      auto optimizer =
          MakeServerOptimizer(OptimizerOf(wanted), 3, state).value();
      const CoordinateRange whole = {0, 0, 3};
      const ParameterVector update = wanted["updates"][step];
      ASSERT_TRUE(optimizer->Step(update, {&whole, 1}, adapter).ok());
      state = optimizer->SaveState();
      for (size_t i = 0; i < 3; ++i) {
        const double value = wanted["after"][step][i];
        EXPECT_NEAR(adapter[i], value, 2e-6 * (1 + std::fabs(value)))
            << wanted["optimizer"] << " step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace edgetune
