#include "client/local_data.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/status.h"
#include "models/io/vision/vision_model.h"
#include "models/io/vision/vision_network.h"
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

TEST_F(LocalDataTest, AModelOfImagesReadsImages) {
  ModelConfig config;
  config.architecture = "mcmahan_2nn";
  config.image = ImageShape{1, 1, 2};
  config.vocab = 10;
  const std::string directory = scratch_.File("vision");
  ASSERT_TRUE(WriteVisionModel(directory, config,
                               InitialWeights(*NetworkOf(config), 1), {})
                  .ok());
  model_ = *ModelFile::Open(directory);
  file_.data.train = scratch_.path();
  EXPECT_EQ(KindOf(Read().status()), ErrorKind::kData);
  const char images[] =
      "\0\0\x08\x03\0\0\0\4\0\0\0\1\0\0\0\2"
      "abcdefgh";
  const char labels[] =
      "\0\0\x08\x01\0\0\0\4"
      "\1\2\3\4";
  std::ofstream(scratch_.File("train-images-idx3-ubyte"))
      .write(images, sizeof images - 1);
  std::ofstream(scratch_.File("train-labels-idx1-ubyte"))
      .write(labels, sizeof labels - 1);
  const auto data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train->size(), 3);
  EXPECT_EQ(data->heldout->size(), 1);
  EXPECT_EQ(data->report.schema, "image");
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
