#include "training/images/image_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/training/images/image_vectors.h"
#include "training/image_data_set.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class ImageFolderTest : public ::testing::Test {
 protected:
  ImageFolderTest() {
    model_.architecture = "mcmahan_2nn";
    model_.image = ImageShape{1, 9, 13};
    model_.vocab = 2;
    Put("grey.png", "dog/2.PNG");
    Put("baseline-grey.jpg", "dog/1.jpeg");
    Put("colour.png", "cat/9.png");
  }

  // A vector under another name.
  void Put(const std::string& vector, const std::string& name) {
    const fs::path to = folder_.File(name);
    fs::create_directories(to.parent_path());
    fs::copy_file(testing::ImageVectorPath(vector), to,
                  fs::copy_options::overwrite_existing);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.File(name), std::ios::binary) << text;
  }
  void Move(const std::string& from, const std::string& to) {
    fs::create_directories(fs::path(folder_.File(to)).parent_path());
    fs::rename(folder_.File(from), folder_.File(to));
  }
  absl::Status Refused(uint64_t most_bytes = kMostDecodedBytes) {
    const auto set = ReadImageFolder(folder_.path(), model_, most_bytes);
    EXPECT_EQ(KindOf(set.status()), ErrorKind::kData) << set.status();
    return set.status();
  }

  const testing::ScratchDirectory folder_;
  ModelConfig model_;
};

TEST_F(ImageFolderTest, ClassesAreFoldersInTheOrderOfTheirBytes) {
  Put("grey.png", "Zebra/a.jpg");  // told by how it begins
  model_.vocab = 3;
  const auto listed = ListImageFolder(folder_.path());
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(listed->classes, ElementsAre("Zebra", "cat", "dog"));
  const auto set = ReadImageDataSet(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ((*set)->size(), 4);
  std::vector<int> labels;
  for (int64_t i = 0; i < 4; ++i) {
    labels.push_back((*set)->Get(i).tokens[0]);
    EXPECT_EQ((*set)->PositionOf(i), i);
    EXPECT_EQ(PredictedLabels((*set)->Get(i)), 1);
  }
  EXPECT_THAT(labels, ElementsAre(0, 1, 2, 2));
  EXPECT_THAT((*set)->Get(3).image,
              ElementsAreArray(testing::ReadNetpbm("grey.pgm").pixels));
  EXPECT_EQ((*set)->report().schema, "image");
  EXPECT_EQ((*set)->report().examples, 4);
  EXPECT_EQ((*set)->report().labelled_tokens, 4);
}

TEST_F(ImageFolderTest, PixelsOutliveTheWhole) {
  auto set = ReadImageFolder(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  const std::vector<size_t> last = {2};
  const auto part = (*set)->Select(last);
  set->reset();
  EXPECT_THAT(part->Get(0).image,
              ElementsAreArray(testing::ReadNetpbm("grey.pgm").pixels));
}

TEST_F(ImageFolderTest, ImagesTakeTheModelsShape) {
  model_.image = ImageShape{3, 4, 5};
  const auto set = ReadImageFolder(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  const auto wanted = testing::ReadFloats("4x5-from-colour.f32");
  const auto& image = (*set)->Get(0).image;
  ASSERT_EQ(image.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(image[i], wanted[i], 0.501);
  }
}

TEST_F(ImageFolderTest, WhatIsNoImageByItsNameIsCounted) {
  Write("README.md", "cats and dogs");
  Write("cat/Thumbs.db", "?");
  Write("cat/.hidden.png", "?");
  fs::create_directory(folder_.File("dog/puppies"));
  fs::create_directory(folder_.File(".git"));
  const auto set = ReadImageFolder(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ((*set)->size(), 3);
  EXPECT_EQ((*set)->report().other_files, 3);
  EXPECT_THAT(RemarksOf((*set)->report()), HasSubstr("3 files left out"));
}

TEST_F(ImageFolderTest, TheModelTellsAsManyClassesAsThereAreFolders) {
  model_.vocab = 3;
  EXPECT_THAT(Refused().ToString(),
              HasSubstr("2 folders of classes, the model tells 3 apart"));
  EXPECT_THAT(HintOf(Refused()), HasSubstr("empty folder"));
  fs::create_directory(folder_.File("bird"));
  const auto set = ReadImageFolder(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ((*set)->Get(0).tokens[0], 1);
}

TEST_F(ImageFolderTest, AFaultIsNamedAndTheOthersAreCounted) {
  Put("bad-cmyk.jpg", "cat/a.jpg");
  absl::Status status = Refused();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.ToString(), HasSubstr("cat/a.jpg: a JPEG in CMYK"));
  Write("cat/0.png", "");
  Put("bad-checksum.png", "dog/3.png");
  status = Refused();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(status.ToString(), HasSubstr("cat/0.png: 0 bytes"));
  EXPECT_THAT(status.ToString(), HasSubstr("; and 2 more of 6 images"));
}

TEST_F(ImageFolderTest, MemoryIsBoundBeforeAnythingIsDecoded) {
  Write("cat/broken.png", "?");
  const absl::Status status = Refused(4 * 13 * 9 - 1);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("4 images of 117 bytes"));
  EXPECT_TRUE(absl::IsDataLoss(Refused(4 * 13 * 9)));
}

TEST_F(ImageFolderTest, AModelOfOtherChannelsIsRefused) {
  model_.image = ImageShape{2, 9, 13};
  EXPECT_THAT(Refused().ToString(), HasSubstr("the model takes 2"));
}

TEST_F(ImageFolderTest, FoldersWithoutImagesAreRefused) {
  fs::remove_all(folder_.File("dog"));
  fs::remove_all(folder_.File("cat"));
  EXPECT_TRUE(
      absl::IsNotFound(ReadImageDataSet(folder_.path(), model_).status()));
  fs::create_directory(folder_.File("cat"));
  EXPECT_THAT(Refused().ToString(), HasSubstr("1 folders, and no .png"));
  EXPECT_TRUE(absl::IsNotFound(
      ReadImageFolder(folder_.File("nowhere"), model_).status()));
}

TEST_F(ImageFolderTest, TrainAndTestAreTwoDataSetsOfTheSameClasses) {
  for (const char* name : {"dog", "cat"})
    Move(name, "train/" + std::string(name));
  EXPECT_EQ(TestImagesIn(folder_.path()), "");
  Put("grey.png", "test/dog/1.png");
  EXPECT_THAT(Refused().ToString(), HasSubstr("cat is in one of them"));
  fs::create_directory(folder_.File("test/cat"));
  const auto train = ReadImageDataSet(folder_.path(), model_);
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ((*train)->size(), 3);
  const std::string path = TestImagesIn(folder_.path());
  const auto test = ReadImageDataSet(path, model_);
  ASSERT_TRUE(test.ok()) << test.status();
  ASSERT_EQ((*test)->size(), 1);
  EXPECT_EQ((*test)->Get(0).tokens[0], 1);
  const auto files = ImageFilesIn(folder_.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(
      *files,
      ElementsAre(EndsWith("train/cat/9.png"), EndsWith("train/dog/1.jpeg"),
                  EndsWith("train/dog/2.PNG"), EndsWith("test/dog/1.png")));
}

TEST_F(ImageFolderTest, FilesOfTheIdxFormatComeFirst) {
  Write("train-images-idx3-ubyte", "?");
  EXPECT_FALSE(IsImageFolder(folder_.path()));
}

}  // namespace
}  // namespace edgetune
