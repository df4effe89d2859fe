#include "server/update_intake.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/not_finite.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::kNaN;

// 2 passes in batches of 8.
v1::TaskPlan EpochPlan() {
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_train()->clear_steps();
  plan.mutable_train()->set_epochs(2);
  plan.mutable_rounds()->set_weight_cap(100);
  return plan;
}

v1::TaskPlan FairPlan() {
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_train()->set_optimizer("sgd");
  plan.mutable_rounds()->set_fairness_q(2);
  return plan;
}

v1::Report Trained(double weight, uint32_t steps = 0, double loss = 0) {
  v1::Report report;
  report.set_update_digest(std::string(32, 'u'));
  report.set_weight(weight);
  report.set_train_steps(steps);
  report.set_incoming_loss(loss);
  return report;
}

absl::Status Check(const v1::TaskPlan& plan, const v1::Report& report) {
  return CheckReport(plan, v1::RoundManifest::TRAIN, report);
}

void ExpectRefused(const absl::Status& status, const char* says) {
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status << says;
  EXPECT_THAT(std::string(status.message()), HasSubstr(says));
}

TEST(UpdateIntakeTest, WhatThePlanDoesNotAskForIsRefused) {
  EXPECT_TRUE(Check(ValidPlan(), Trained(30)).ok());
  ExpectRefused(Check(ValidPlan(), Trained(30, 6)), "6 local steps");
  ExpectRefused(Check(ValidPlan(), Trained(30, 0, 1.5)),
                "incoming_loss is 1.5, wanted 0 to 0");
}

TEST(UpdateIntakeTest, ARankIsForPlansWhoseDevicesMayTrainSlices) {
  v1::Report report = Trained(30);
  report.set_rank(1);
  ExpectRefused(Check(ValidPlan(), report), "rank is 1, wanted at most 0");
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_lora()->set_rule("hetlora");
  EXPECT_TRUE(Check(plan, Trained(30)).ok());
  EXPECT_TRUE(Check(plan, report).ok());
  EXPECT_NE(ReportFingerprint(report), ReportFingerprint(Trained(30)));
  report.set_rank(3);
  ExpectRefused(Check(plan, report), "rank is 3, wanted at most 2");
  v1::Report evaluation;
  evaluation.set_rank(1);
  ExpectRefused(CheckReport(plan, v1::RoundManifest::EVAL, evaluation),
                "carries an update");
}

TEST(UpdateIntakeTest, RightAnswersAreOfImagesAndNoMoreThanThese) {
  v1::Report report = Trained(30);
  report.set_tokens(5);
  report.set_correct(1);
  ExpectRefused(Check(ValidPlan(), report),
                "1 right answers, wanted at most 0");
  v1::TaskPlan images = ValidPlan();
  images.mutable_lora()->set_rule("full");
  report.set_correct(5);
  EXPECT_TRUE(Check(images, report).ok());
  report.set_correct(6);
  ExpectRefused(Check(images, report), "6 right answers, wanted at most 5");
}

// ceil(2 n / 8)
TEST(UpdateIntakeTest, StepsAreThoseOfTheExamples) {
  EXPECT_TRUE(Check(EpochPlan(), Trained(1, 1)).ok());
  EXPECT_TRUE(Check(EpochPlan(), Trained(4, 1)).ok());
  EXPECT_TRUE(Check(EpochPlan(), Trained(5, 2)).ok());
  EXPECT_TRUE(Check(EpochPlan(), Trained(99, 25)).ok());
  ExpectRefused(Check(EpochPlan(), Trained(99)), "0 local steps, wanted 25");
  ExpectRefused(Check(EpochPlan(), Trained(99, 24)), "24 local steps");
  ExpectRefused(Check(EpochPlan(), Trained(99, 26)), "26 local steps");
}

// The cap hides how many more examples there are; never how few.
TEST(UpdateIntakeTest, AtTheCapThereMayBeMoreSteps) {
  EXPECT_TRUE(Check(EpochPlan(), Trained(100, 25)).ok());
  EXPECT_TRUE(Check(EpochPlan(), Trained(100, 100'000)).ok());
  ExpectRefused(Check(EpochPlan(), Trained(100, 24)), "wanted 25 to 100000");
  ExpectRefused(Check(EpochPlan(), Trained(100, 100'001)), "100001 local");
}

TEST(UpdateIntakeTest, IncomingLossIsInItsRange) {
  EXPECT_TRUE(Check(FairPlan(), Trained(30, 0, 2.5)).ok());
  EXPECT_TRUE(Check(FairPlan(), Trained(30, 0, 1e-6)).ok());
  EXPECT_TRUE(Check(FairPlan(), Trained(30, 0, 1e4)).ok());
  for (const double loss : {0.0, 9e-7, -1.0, 10001.0, kNaN<double>, 1e300}) {
    ExpectRefused(Check(FairPlan(), Trained(30, 0, loss)), "incoming_loss is");
  }
}

TEST(UpdateIntakeTest, AnEvaluationHasNeither) {
  const auto check = [](const v1::TaskPlan& plan, const v1::Report& report) {
    return CheckReport(plan, v1::RoundManifest::EVAL, report);
  };
  EXPECT_TRUE(check(EpochPlan(), {}).ok());
  EXPECT_TRUE(check(FairPlan(), {}).ok());
  v1::Report report;
  report.set_train_steps(1);
  ExpectRefused(check(EpochPlan(), report), "carries an update");
  report.clear_train_steps();
  report.set_incoming_loss(1);
  ExpectRefused(check(FairPlan(), report), "carries an update");
}

TEST(UpdateIntakeTest, ReportsThatWeighOtherwiseHaveOtherFingerprints) {
  const std::set<std::string> prints = {
      ReportFingerprint(Trained(30)), ReportFingerprint(Trained(30, 6)),
      ReportFingerprint(Trained(30, 7)), ReportFingerprint(Trained(30, 0, 1)),
      ReportFingerprint(Trained(30, 0, 2))};
  EXPECT_EQ(prints.size(), 5u);
}

}  // namespace
}  // namespace edgetune
