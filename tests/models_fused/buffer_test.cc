#include "models/fused/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace edgetune::fused {
namespace {

TEST(BufferTest, OnlyGrows) {
  Buffer<float> buffer(10);
  float* const data = buffer.data();
  buffer.Reserve(5);
  EXPECT_EQ(buffer.data(), data);
  EXPECT_EQ(buffer.size(), 10u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
}

// AddressSanitizer ends the program where so much is asked for.
#ifndef __SANITIZE_ADDRESS__
TEST(BufferTest, WithoutMemoryIsEmptyAndCanBeUsedAgain) {
  Buffer<float> buffer(10);
  EXPECT_THROW(buffer.Reserve(SIZE_MAX / 16), std::bad_alloc);
  EXPECT_EQ(buffer.size(), 0u);
  const auto rows = buffer.Make(2, 5);
  ASSERT_NE(rows.data, nullptr);
  rows.row(1)[4] = 1;
}
#endif

}  // namespace
}  // namespace edgetune::fused
