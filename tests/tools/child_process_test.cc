#include "tools/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "base/atomic_file.h"
#include "tools/federation/demo_fleet.h"

namespace edgetune {
namespace {

class ChildProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::Make(::testing::TempDir(), "child-");
    ASSERT_TRUE(made.ok()) << made.status();
    folder_ = *std::move(made);
    log_ = folder_->path() + "/log";
  }
  std::unique_ptr<ChildProcess> Shell(const std::string& script) {
    auto child = ChildProcess::Start(
        {{"/bin/sh", "-c", script}, {{"GREETING", "hello"}}, log_});
    EXPECT_TRUE(child.ok()) << child.status();
    return *std::move(child);
  }

  std::unique_ptr<TemporaryDirectory> folder_;
  std::string log_;
};

TEST_F(ChildProcessTest, OutputAndErrorsGoToTheLog) {
  auto child = Shell("echo $GREETING; echo oops >&2; exit 7");
  while (!child->Poll()) {
  }
  EXPECT_EQ(child->ended().exit_code, 7);
  EXPECT_GT(child->ended().peak_rss_bytes, 0);
  EXPECT_EQ(*ReadFile(log_), "hello\noops\n");
  EXPECT_EQ(LastLines(log_, 1), "oops");
  EXPECT_EQ(LastLines(log_, 9), "hello\noops");
}

TEST_F(ChildProcessTest, StopEndsWhatIgnoresTerm) {
  auto child = Shell("trap '' TERM; echo up; while :; do sleep 0.05; done");
  while (LastLines(log_, 1) != "up") {
  }
  EXPECT_EQ(child->Stop(absl::Milliseconds(50)).exit_code, 128 + SIGKILL);
}

TEST_F(ChildProcessTest, StopLetsAProgramTidyUp) {
  auto child = Shell(
      "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
  while (LastLines(log_, 1) != "up") {
  }
  EXPECT_EQ(child->Stop(absl::Seconds(30)).exit_code, 0);
  EXPECT_EQ(LastLines(log_, 1), "bye");
}

TEST_F(ChildProcessTest, AMissingProgramIsNamed) {
  auto child = ChildProcess::Start({{"/nowhere/edgetune-server"}, {}, log_});
  EXPECT_THAT(std::string(child.status().message()),
              ::testing::HasSubstr("/nowhere/edgetune-server"));
}

TEST_F(ChildProcessTest, TemporaryDirectoryGoesWithAllInIt) {
  const std::string path = folder_->path();
  ASSERT_TRUE(MakeDirectories(path + "/a/b").ok());
  folder_.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(DemoFleetTest, TopicsBecomeDeviceIds) {
  EXPECT_EQ(DeviceIdOf("noun.Tops"), "noun.tops");
}

TEST(DemoFleetTest, TomlStringsAreEscaped) {
  EXPECT_EQ(TomlString("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
}

}  // namespace
}  // namespace edgetune
