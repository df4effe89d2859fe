#ifndef EDGETUNE_TESTS_AGGREGATION_LORA_CASES_H_
#define EDGETUNE_TESTS_AGGREGATION_LORA_CASES_H_

// vectors/lora_rules.json, as tests take it.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "aggregation/update_fold.h"
#include "base/parameters.h"

namespace edgetune::testing {

inline std::vector<nlohmann::json> LoraCases(const std::string& rule) {
  std::ifstream in(EDGETUNE_SOURCE_DIR
                   "/tests/aggregation/vectors/lora_rules.json");
  std::vector<nlohmann::json> cases;
  const nlohmann::json all = nlohmann::json::parse(in);
  for (const nlohmann::json& one : all["cases"]) {
    if (one["rule"] == rule) cases.push_back(one);
  }
  return cases;
}

inline ParameterLayout LayoutOfCase(const nlohmann::json& one) {
  const int64_t rank = one["rank"];
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (size_t m = 0; m < one["shapes"].size(); ++m) {
    const std::string module = "m" + std::to_string(m);
    tensors.push_back({module + ".lora_A", {rank, one["shapes"][m][1]}});
    tensors.push_back({module + ".lora_B", {one["shapes"][m][0], rank}});
  }
  return *ParameterLayout::Make(std::move(tensors));
}

inline WeightedMeanOptions LimitsOf(const ParameterLayout& layout) {
  return {.coordinates = layout.size(),
          .bound = 64,
          .weight_cap = 1024,
          .max_updates = 16};
}

struct SentUpdate {
  ParameterVector update;
  UpdateTerms terms;
};
inline std::vector<SentUpdate> SentOf(const nlohmann::json& one) {
  std::vector<SentUpdate> sent;
  for (size_t k = 0; k < one["updates"].size(); ++k) {
    const int64_t rank = one["ranks"][k];
    sent.push_back({one["updates"][k].get<ParameterVector>(),
                    {.weight = one["weights"][k],
                     .rank = rank == one["rank"] ? 0 : rank}});
  }
  return sent;
}

// Whichever way updates arrive and on however many shards, by a bit.
inline void ExpectOrderAndShardsChangeNothing(
    std::vector<SentUpdate> sent,
    const std::function<std::unique_ptr<UpdateFold>()>& make) {
  const auto forward = make();
  for (const SentUpdate& s : sent) {
    ASSERT_TRUE(forward->Add(s.update, s.terms).ok());
  }
  std::reverse(sent.begin(), sent.end());
  const auto left = make(), right = make();
  for (size_t k = 0; k < sent.size(); ++k) {
    ASSERT_TRUE(
        (k % 2 == 0 ? left : right)->Add(sent[k].update, sent[k].terms).ok());
  }
  ASSERT_TRUE(left->Merge(*right).ok());
  EXPECT_EQ(left->Finish()->mean, forward->Finish()->mean);
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_AGGREGATION_LORA_CASES_H_
