#ifndef EDGETUNE_TESTS_PROTOS_REFUSALS_H_
#define EDGETUNE_TESTS_PROTOS_REFUSALS_H_

// Plans that are refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "protos/plan_check.h"

namespace edgetune::testing {

using PlanChange = std::function<void(v1::TaskPlan&)>;

// One change that makes a plan unacceptable, and what the message says.
struct Refusal {
  std::string says;
  PlanChange change;
};

inline std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

inline void ExpectRefused(const v1::TaskPlan& from,
                          const std::vector<Refusal>& refusals) {
  ASSERT_TRUE(CheckPlan(from).ok()) << CheckPlan(from);
  for (const Refusal& refusal : refusals) {
    v1::TaskPlan plan = from;
    refusal.change(plan);
    const absl::Status status = CheckPlan(plan);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << refusal.says;
    EXPECT_THAT(Message(status), ::testing::HasSubstr(refusal.says));
  }
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_PROTOS_REFUSALS_H_
