#ifndef EDGETUNE_TESTS_TRAINING_IMAGES_IMAGE_VECTORS_H_
#define EDGETUNE_TESTS_TRAINING_IMAGES_IMAGE_VECTORS_H_

// Files of vectors/, which make_image_vectors.py made.

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "training/images/raster.h"

namespace edgetune::testing {

inline std::string ImageVectorPath(const std::string& name) {
  return std::string(EDGETUNE_SOURCE_DIR) + "/tests/training/images/vectors/" +
         name;
}

inline std::vector<uint8_t> ImageVector(const std::string& name) {
  std::ifstream in(ImageVectorPath(name), std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Binary PGM (P5) or PPM (P6) of 255 levels.
inline Raster ReadNetpbm(const std::string& name) {
  std::ifstream in(ImageVectorPath(name), std::ios::binary);
  std::string kind;
  int64_t levels = 0;
  Raster raster;
  in >> kind >> raster.width >> raster.height >> levels;
  EXPECT_EQ(levels, 255) << name;
  raster.channels = kind == "P6" ? 3 : 1;
  in.get();
  raster.pixels.assign(std::istreambuf_iterator<char>(in),
                       std::istreambuf_iterator<char>());
  EXPECT_EQ(static_cast<int64_t>(raster.pixels.size()),
            raster.width * raster.height * raster.channels);
  return raster;
}

inline std::vector<float> ReadFloats(const std::string& name) {
  const std::vector<uint8_t> bytes = ImageVector(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TRAINING_IMAGES_IMAGE_VECTORS_H_
