#include "training/image_data_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <vector>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ImageDataSetTest : public ::testing::Test {
 protected:
  ImageDataSetTest() {
    model_.architecture = "mcmahan_2nn";
    model_.image = ImageShape{1, 2, 3};
    model_.vocab = 4;
  }

  // An IDX file of this shape, whose elements count from 0.
  std::string Write(const std::string& name, std::vector<uint8_t> shape,
                    std::vector<uint8_t> elements = {}) {
    size_t count = 1;
    std::string bytes = {0, 0, 8, static_cast<char>(shape.size())};
    for (const uint8_t size : shape) {
      bytes += std::string(3, '\0') + static_cast<char>(size);
      count *= size;
    }
    for (size_t i = elements.size(); i < count; ++i) {
      elements.push_back(static_cast<uint8_t>(i));
    }
    bytes.append(elements.begin(), elements.end());
    std::ofstream(folder_.File(name), std::ios::binary) << bytes;
    return folder_.File(name);
  }
  void WritePair() {
    Write("train-images-idx3-ubyte", {3, 2, 3});
    Write("train-labels-idx1-ubyte", {3}, {2, 0, 3});
  }
  absl::Status Refused() {
    const auto set = ReadImageDataSet(folder_.path(), model_);
    EXPECT_EQ(KindOf(set.status()), ErrorKind::kData) << set.status();
    return set.status();
  }

  const testing::ScratchDirectory folder_;
  ModelConfig model_;
};

TEST_F(ImageDataSetTest, EachImageHasItsPixelsAndItsClass) {
  WritePair();
  const auto set = ReadImageDataSet(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ((*set)->size(), 3);
  const LabelledTokens& second = (*set)->Get(1);
  EXPECT_THAT(second.image, ElementsAre(6, 7, 8, 9, 10, 11));
  EXPECT_THAT(second.tokens, ElementsAre(0));
  EXPECT_EQ(PredictedLabels(second), 1);
  EXPECT_EQ((*set)->report().schema, "image");
  EXPECT_EQ((*set)->report().labelled_tokens, 3);
}

TEST_F(ImageDataSetTest, PartsOutliveTheWhole) {
  WritePair();
  auto set = ReadImageDataSet(folder_.path(), model_);
  ASSERT_TRUE(set.ok()) << set.status();
  const auto [train, heldout] = (*set)->Split(0.34, 7);
  set->reset();
  ASSERT_EQ(train->size(), 2);
  ASSERT_EQ(heldout->size(), 1);
  std::set<int> first;
  for (const auto* part : {train.get(), heldout.get()}) {
    for (int64_t i = 0; i < part->size(); ++i) {
      first.insert(part->Get(i).image[0]);
    }
  }
  EXPECT_THAT(first, ElementsAre(0, 6, 12));
}

TEST_F(ImageDataSetTest, AFileOfImagesNamesItsLabels) {
  const std::string images = Write("t10k-images-idx3-ubyte", {1, 2, 3});
  Write("t10k-labels-idx1-ubyte", {1}, {1});
  EXPECT_EQ(TestImagesIn(folder_.path()), images);
  const auto set = ReadImageDataSet(images, model_);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_THAT((*set)->Get(0).tokens, ElementsAre(1));
}

TEST_F(ImageDataSetTest, FourDimensionsHaveChannels) {
  model_.image = ImageShape{2, 1, 3};
  Write("train-images-idx4-ubyte", {1, 2, 1, 3});
  Write("train-labels-idx1-ubyte", {1}, {1});
  EXPECT_TRUE(ReadImageDataSet(folder_.path(), model_).ok());
  model_.image = ImageShape{1, 2, 3};
  EXPECT_THAT(Refused().ToString(), HasSubstr("[2,1,3], the model takes"));
}

TEST_F(ImageDataSetTest, MissingFilesAreNamed) {
  EXPECT_TRUE(absl::IsNotFound(Refused()));
  Write("train-images-idx3-ubyte", {3, 2, 3});
  EXPECT_THAT(Refused().ToString(), HasSubstr("train-labels-idx1-ubyte"));
  const auto other = ReadImageDataSet(folder_.File("images.png"), model_);
  EXPECT_THAT(other.status().ToString(), HasSubstr("NAME-images-idx3-ubyte"));
  EXPECT_EQ(TestImagesIn(folder_.path()), "");
}

TEST_F(ImageDataSetTest, FilesThatDoNotBelongTogetherAreRefused) {
  WritePair();
  Write("train-labels-idx1-ubyte", {2}, {2, 0});
  EXPECT_THAT(Refused().ToString(), HasSubstr("3 images, and labels"));
  Write("train-labels-idx1-ubyte", {3, 1}, {2, 0, 1});
  EXPECT_TRUE(absl::IsInvalidArgument(Refused()));
  Write("train-labels-idx1-ubyte", {3}, {2, 4, 1});
  EXPECT_THAT(Refused().ToString(), HasSubstr("image 1"));
}

TEST_F(ImageDataSetTest, ImagesOfAnotherSizeAreRefused) {
  WritePair();
  Write("train-images-idx3-ubyte", {3, 3, 2});
  EXPECT_THAT(Refused().ToString(), HasSubstr("[3,2], the model takes"));
}

TEST_F(ImageDataSetTest, ADamagedFileIsNamed) {
  WritePair();
  std::ofstream(folder_.File("train-images-idx3-ubyte")) << "PNG";
  const absl::Status status = Refused();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(status.ToString(), HasSubstr("train-images-idx3-ubyte"));
}

}  // namespace
}  // namespace edgetune
