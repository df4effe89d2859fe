#include "client/local_data.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/status.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

class LocalDataTest : public ::testing::Test {
 protected:
  absl::StatusOr<LocalData> Read() {
    return ReadLocalData(file_.data, plan_, *model_);
  }

  const testing::ScratchDirectory scratch_;
  v1::TaskPlan plan_ = testing::MakeTestRun(scratch_.path(), 1).plan;
  std::unique_ptr<ModelFile> model_ =
      *ModelFile::Open(scratch_.File("tiny.gguf"));
  ClientFile file_ = testing::MakeClientFile(scratch_.path(), "animal", 12);
};

TEST_F(LocalDataTest, NameIsTheStemUnlessSet) {
  EXPECT_EQ(DataName(file_.data), "animal");
  file_.data.name = "zoo";
  EXPECT_EQ(DataName(file_.data), "zoo");
}

TEST_F(LocalDataTest, ShareIsHeldOutAndNeverTrainedOn) {
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train->size(), 9);
  ASSERT_EQ(data->heldout->size(), 3);
  std::set<std::vector<int32_t>> trained;
  for (int i = 0; i < 9; ++i) trained.insert(data->train->Get(i).tokens);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(trained.contains(data->heldout->Get(i).tokens));
  }
}

TEST_F(LocalDataTest, SplitIsTheSameEveryTime) {
  const auto first = Read(), second = Read();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(first->heldout->Get(i).tokens, second->heldout->Get(i).tokens);
  }
}

TEST_F(LocalDataTest, HeldOutFileLeavesAllTheRestForTraining) {
  file_.data.heldout = testing::WriteChatData(scratch_.path(), "held", 5);
  const auto data = Read();
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->train->size(), 12);
  EXPECT_EQ(data->heldout->size(), 5);
}

TEST_F(LocalDataTest, WithoutAShareNothingIsHeldOut) {
  plan_.mutable_data()->set_holdout(0);
  const auto data = Read();
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->train->size(), 12);
  EXPECT_EQ(data->heldout, nullptr);
}

TEST_F(LocalDataTest, SingleExampleIsTrainedOn) {
  file_ = testing::MakeClientFile(scratch_.path(), "one", 1);
  const auto data = Read();
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->train->size(), 1);
  EXPECT_EQ(data->heldout, nullptr);
}

TEST_F(LocalDataTest, BadLineIsNamedAndIsTheDevicesData) {
  std::ofstream(file_.data.train, std::ios::app) << "{\"messages\":\n";
  const auto data = Read();
  EXPECT_EQ(KindOf(data.status()), ErrorKind::kData);
  EXPECT_NE(data.status().message().find("animal.jsonl:13"), std::string::npos);
}

TEST_F(LocalDataTest, FilesMustBeReadableFromTheStart) {
  EXPECT_TRUE(CheckDataFiles(file_.data).ok());
  file_.data.heldout = scratch_.File("missing.jsonl");
  EXPECT_EQ(KindOf(CheckDataFiles(file_.data)), ErrorKind::kData);
  file_.data = {};
  EXPECT_EQ(KindOf(CheckDataFiles(file_.data)), ErrorKind::kData);
}

}  // namespace
}  // namespace edgetune
