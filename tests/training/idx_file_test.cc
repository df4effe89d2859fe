#include "training/idx_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace edgetune {
namespace {

using ::testing::ElementsAre;

using Bytes = std::vector<uint8_t>;

// Two images of 2 by 3.
Bytes Small() {
  Bytes bytes = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3};
  for (uint8_t i = 0; i < 12; ++i) bytes.push_back(i);
  return bytes;
}

TEST(IdxFileTest, ReadsShapeAndElements) {
  const Bytes bytes = Small();
  const auto array = ParseIdx(bytes);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(2, 2, 3));
  ASSERT_EQ(array->elements.size(), 12);
  EXPECT_EQ(array->elements.data(), bytes.data() + 16);
}

TEST(IdxFileTest, EveryShorterFileIsDamaged) {
  const Bytes bytes = Small();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto array = ParseIdx(std::span(bytes).first(size));
    EXPECT_EQ(array.status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(IdxFileTest, ALongerFileIsDamaged) {
  Bytes bytes = Small();
  bytes.push_back(0);
  EXPECT_TRUE(absl::IsDataLoss(ParseIdx(bytes).status()));
}

TEST(IdxFileTest, OtherBeginningsAreRefused) {
  for (const size_t at : {0, 1}) {
    Bytes bytes = Small();
    bytes[at] = 1;
    EXPECT_TRUE(absl::IsDataLoss(ParseIdx(bytes).status())) << at;
  }
  Bytes floats = Small();
  floats[2] = 0x0d;
  EXPECT_TRUE(absl::IsInvalidArgument(ParseIdx(floats).status()));
}

TEST(IdxFileTest, DimensionsMustBeFew) {
  for (const uint8_t dimensions : {0, 5, 255}) {
    Bytes bytes = Small();
    bytes[3] = dimensions;
    bytes.resize(2000, 1);
    EXPECT_TRUE(absl::IsDataLoss(ParseIdx(bytes).status())) << int{dimensions};
  }
}

TEST(IdxFileTest, AnEmptyDimensionIsRefused) {
  Bytes bytes = Small();
  bytes[7] = 0;
  EXPECT_TRUE(absl::IsDataLoss(ParseIdx(bytes).status()));
}

// 2^32 - 1 three times: their product does not fit 64 bits.
TEST(IdxFileTest, SizesBeyondTheFileDoNotOverflow) {
  Bytes bytes = Small();
  std::fill(bytes.begin() + 4, bytes.begin() + 16, 0xff);
  EXPECT_TRUE(absl::IsDataLoss(ParseIdx(bytes).status()));
  // 2^16 * 2^16 * 2^32 is 0 modulo 2^64.
  bytes = {0, 0, 8, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0};
  EXPECT_TRUE(absl::IsDataLoss(ParseIdx(bytes).status()));
}

}  // namespace
}  // namespace edgetune
