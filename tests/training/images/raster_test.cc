// Against bytes and pixels of other encoders and decoders: vectors/, made by
// make_image_vectors.py.

#include "training/images/raster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/training/images/image_vectors.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using ::testing::TestWithParam;
using ::testing::ValuesIn;

absl::Status Refusal(const std::string& file,
                     const RasterLimits& limits = RasterLimits()) {
  return DecodeImage(testing::ImageVector(file), limits).status();
}

// The file and its pixels, which may be off by this much: where a decoder may
// round otherwise.
struct Picture {
  const char* file;
  const char* pixels;
  int tolerance = 0;
};

class PictureTest : public TestWithParam<Picture> {};

TEST_P(PictureTest, DecodesToThePixelsOfAnotherDecoder) {
  const Picture& picture = GetParam();
  const auto raster =
      DecodeImage(testing::ImageVector(picture.file), RasterLimits());
  ASSERT_TRUE(raster.ok()) << raster.status();
  const Raster wanted = testing::ReadNetpbm(picture.pixels);
  EXPECT_EQ(raster->width, wanted.width);
  EXPECT_EQ(raster->height, wanted.height);
  ASSERT_EQ(raster->channels, wanted.channels);
  ASSERT_EQ(raster->pixels.size(), wanted.pixels.size());
  for (size_t i = 0; i < wanted.pixels.size(); ++i) {
    EXPECT_LE(std::abs(raster->pixels[i] - wanted.pixels[i]), picture.tolerance)
        << "at " << i;
  }
}

constexpr Picture kPictures[] = {
    {"grey.png", "grey.pgm"},
    {"colour.png", "colour.ppm"},
    {"palette.png", "palette.ppm"},
    {"opacity.png", "opacity.ppm"},
    {"grey-opacity.png", "grey-opacity.pgm"},
    {"keyed.png", "keyed.pgm"},
    {"deep.png", "deep.ppm"},
    {"grey-deep.png", "grey-deep.pgm"},
    {"bits.png", "bits.pgm"},
    {"interlaced.png", "interlaced.pgm"},
    {"baseline-grey.jpg", "baseline-grey.pgm", 1},
    {"baseline.jpg", "baseline.ppm", 1},
    {"subsampled.jpg", "subsampled.ppm", 1},
    {"progressive.jpg", "progressive.ppm", 1},
};
INSTANTIATE_TEST_SUITE_P(All, PictureTest, ValuesIn(kPictures));

TEST(RasterTest, EveryCutIsRefused) {
  for (const char* file : {"grey.png", "interlaced.png", "palette.png",
                           "baseline.jpg", "progressive.jpg"}) {
    const std::vector<uint8_t> whole = testing::ImageVector(file);
    for (size_t size = 0; size < whole.size(); ++size) {
      const auto part =
          DecodeImage(std::span(whole).first(size), RasterLimits());
      ASSERT_TRUE(absl::IsDataLoss(part.status()))
          << file << " of " << size << ": " << part.status();
    }
  }
}

TEST(RasterTest, WhatBeginsOtherwiseIsNoImage) {
  const std::string text = "GIF89a and so on";
  const auto gif = DecodeImage(
      std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()),
      RasterLimits());
  EXPECT_TRUE(absl::IsDataLoss(gif.status()));
  EXPECT_THAT(gif.status().ToString(), HasSubstr("16 bytes that begin"));
}

TEST(RasterTest, BytesBehindTheEndDoNotMatter) {
  for (const char* file : {"grey.png", "baseline.jpg"}) {
    std::vector<uint8_t> longer = testing::ImageVector(file);
    longer.resize(longer.size() + 100, 7);
    EXPECT_TRUE(DecodeImage(longer, RasterLimits()).ok()) << file;
  }
}

TEST(RasterTest, MorePixelsThanAFileCanHoldAreRefused) {
  const RasterLimits wide = {.most_pixels = int64_t{1} << 40,
                             .longest_side = int64_t{1} << 31};
  for (const char* file : {"bad-bomb.png", "bad-bomb.jpg"}) {
    const absl::Status status = Refusal(file);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("5000 by 5000"));
    EXPECT_THAT(status.ToString(), HasSubstr("bytes can hold")) << file;
  }
  for (const char* file : {"bad-huge.png", "bad-huge.jpg"}) {
    EXPECT_THAT(Refusal(file).ToString(), HasSubstr("no side above 65535"));
    EXPECT_TRUE(absl::IsInvalidArgument(Refusal(file, wide)))
        << Refusal(file, wide);
  }
}

TEST(RasterTest, TheLimitOfPixelsIsTheCallers) {
  for (const char* file : {"grey.png", "baseline-grey.jpg"}) {
    EXPECT_TRUE(Refusal(file, {.most_pixels = 13 * 9}).ok()) << file;
    const absl::Status status = Refusal(file, {.most_pixels = 13 * 9 - 1});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("13 by 9"));
    EXPECT_FALSE(Refusal(file, {.longest_side = 12}).ok()) << file;
  }
}

// File, code, words.
struct Bad {
  const char* file;
  absl::StatusCode code;
  const char* words;
};

class BadPictureTest : public TestWithParam<Bad> {};

TEST_P(BadPictureTest, IsRefusedByName) {
  const absl::Status status = Refusal(GetParam().file);
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(status.ToString(), HasSubstr(GetParam().words));
}

constexpr auto kNonsense = absl::StatusCode::kInvalidArgument;
constexpr auto kDamage = absl::StatusCode::kDataLoss;
constexpr Bad kBad[] = {
    {"bad-animated.png", kNonsense, "animated"},
    {"bad-short.png", kDamage, "Not enough image data"},
    {"bad-checksum.png", kDamage, "CRC error"},
    {"bad-cmyk.jpg", kNonsense, "CMYK, of 4 components"},
    {"bad-arithmetic.jpg", kNonsense, "arithmetic"},
    {"bad-twelve-bits.jpg", kDamage, "precision 12"},
    {"bad-scans.jpg", kDamage, "more than 100 scans"},
    {"bad-empty.jpg", kDamage, "Empty JPEG"},
};
INSTANTIATE_TEST_SUITE_P(All, BadPictureTest, ValuesIn(kBad));

// Under AddressSanitizer this finds reads beyond the end and leaks.
TEST(RasterTest, FlippedBytesAreDecodedOrRefused) {
  for (const char* file : {"palette.png", "deep.png", "interlaced.png",
                           "subsampled.jpg", "progressive.jpg"}) {
    const std::vector<uint8_t> whole = testing::ImageVector(file);
    for (size_t at = 8; at < whole.size(); ++at) {
      std::vector<uint8_t> bent = whole;
      bent[at] ^= 0x41;
      const auto raster = DecodeImage(bent, {.most_pixels = 1 << 16});
      if (!raster.ok()) continue;
      ASSERT_EQ(raster->pixels.size(),
                static_cast<size_t>(raster->width * raster->height *
                                    raster->channels));
    }
  }
}

}  // namespace
}  // namespace edgetune
