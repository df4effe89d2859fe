#include "base/thread_count.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

namespace edgetune {
namespace {

// As it was, for the tests after this one.
class ThreadCountTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const char* was = std::getenv(kName)) was_ = was;
  }
  void TearDown() override { setenv(kName, was_.c_str(), 1); }

  static constexpr const char* kName = "OMP_NUM_THREADS";
  std::string was_;
};

TEST_F(ThreadCountTest, WhatIsAskedForWins) {
  setenv(kName, "3", 1);
  EXPECT_EQ(ThreadCount(5), 5);
  EXPECT_EQ(ThreadCount(0), 3);
}

TEST_F(ThreadCountTest, WithoutAWordAllCores) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  for (const char* word : {"", "0", "-2", "many", "99999999999999"}) {
    setenv(kName, word, 1);
    EXPECT_EQ(ThreadCount(0), cores) << word;
  }
  unsetenv(kName);
  EXPECT_EQ(ThreadCount(0), cores);
}

}  // namespace
}  // namespace edgetune
