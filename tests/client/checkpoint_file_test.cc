#include "client/checkpoint_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "privacy/crypto/secret.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/small_disk.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using testing::ScratchDirectory;
using testing::SmallDisk;

class CheckpointFileTest : public ::testing::Test {
 protected:
  void Save(const std::string& text) {
    const size_t half = text.size() / 2;
    const std::span<const uint8_t> bytes = ByteSpan(text);
    const std::span<const uint8_t> parts[] = {bytes.first(half),
                                              bytes.subspan(half)};
    file_.Save(parts);
  }
  int64_t FilesThere() const {
    return std::distance(fs::directory_iterator(scratch_.path()),
                         fs::directory_iterator());
  }

  const ScratchDirectory scratch_;
  const std::string path_ = CheckpointFile::PathIn(scratch_.path());
  CheckpointFile file_{path_, "run 1 round 2", "task", absl::Seconds(60)};
};

TEST_F(CheckpointFileTest, GivesBackWhatWasSavedLast) {
  EXPECT_EQ(file_.Load(), "");
  Save("the first");
  Save("the second one");
  EXPECT_EQ(file_.Load(), "the second one");
  EXPECT_EQ(FilesThere(), 1);
}

TEST_F(CheckpointFileTest, IsReadableByItsUserAlone) {
  Save("an update");
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(CheckpointFileTest, IsDueAfterItsTimeOfWork) {
  EXPECT_FALSE(file_.IsDue(59.9));
  EXPECT_TRUE(file_.IsDue(60));
}

TEST_F(CheckpointFileTest, FullDiskKeepsWhatWasThere) {
  Save("the first");
  {
    const SmallDisk disk(4);
    Save("the second one");
    Save("the third one");
  }
  EXPECT_EQ(file_.Load(), "the first");
  EXPECT_EQ(FilesThere(), 1);
  Save("the fourth one");
  EXPECT_EQ(file_.Load(), "the fourth one");
}

TEST_F(CheckpointFileTest, WhatIsRefusedIsRemoved) {
  Save("of another plan");
  file_.Refused("it is of another plan");
  EXPECT_EQ(FilesThere(), 0);
}

TEST_F(CheckpointFileTest, RemovesWhatKilledSavesLeft) {
  Save("whole");
  for (const char* name : {".part1a2b3c", ".partXXXXXX"}) {
    std::ofstream(path_ + name) << "half";
  }
  std::ofstream(scratch_.File("client.db")) << "another file";
  CheckpointFile::RemoveParts(path_);
  EXPECT_EQ(FilesThere(), 2);
  EXPECT_EQ(file_.Load(), "whole");
  CheckpointFile::Remove(path_);
  CheckpointFile::Remove(path_);
  EXPECT_EQ(FilesThere(), 1);
}

TEST_F(CheckpointFileTest, WithoutAStateDirectoryThereIsNone) {
  const std::string path = CheckpointFile::PathIn("");
  EXPECT_EQ(path, "");
  CheckpointFile::Remove(path);
  CheckpointFile::RemoveParts(path);
}

}  // namespace
}  // namespace edgetune
