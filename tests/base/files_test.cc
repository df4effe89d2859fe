#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/small_disk.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FilesTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) { return directory_ + "/" + name; }
  int Entries() {
    return static_cast<int>(std::distance(fs::directory_iterator(directory_),
                                          fs::directory_iterator()));
  }

  const testing::ScratchDirectory scratch_;
  const std::string directory_ = scratch_.path();
};

TEST_F(FilesTest, ShowsAFileOnlyOnceCommitted) {
  auto file = AtomicFile::Create(Path("a"), 0600).value();
  ASSERT_TRUE(file->Append("hello ").ok());
  ASSERT_TRUE(file->Append("world").ok());
  EXPECT_FALSE(fs::exists(Path("a")));
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(*ReadFile(Path("a")), "hello world");
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(Entries(), 1);
}

TEST_F(FilesTest, LeavesNothingWithoutCommit) {
  {
    auto file = AtomicFile::Create(Path("a")).value();
    ASSERT_TRUE(file->Append("half").ok());
  }
  EXPECT_EQ(Entries(), 0);
}

TEST_F(FilesTest, KeepsTheOldFileUntilTheNewOneIsWhole) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "old").ok());
  auto file = AtomicFile::Create(Path("a")).value();
  ASSERT_TRUE(file->Append("new").ok());
  EXPECT_EQ(*ReadFile(Path("a")), "old");
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(*ReadFile(Path("a")), "new");
}

TEST_F(FilesTest, NamesAMissingDirectory) {
  const absl::Status status = WriteFileAtomically(Path("none/such"), "text");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("none/such")));
}

TEST_F(FilesTest, SaysThatTheDiskIsFullAndLeavesNothing) {
  absl::Status status;
  {
    testing::SmallDisk disk(4096);
    status = WriteFileAtomically(Path("big"), std::string(10000, 'x'));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(KindOf(status), ErrorKind::kDiskFull);
  EXPECT_EQ(ExitCodeOf(status), 1);
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("big")));
  EXPECT_EQ(Entries(), 0);
}

TEST_F(FilesTest, ReadsUpToALimit) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "12345").ok());
  EXPECT_TRUE(ReadFile(Path("a"), 5).ok());
  const auto read = ReadFile(Path("a"), 4);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("5 bytes"));
}

TEST_F(FilesTest, MapsFilesAlsoEmptyOnes) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "abc").ok());
  ASSERT_TRUE(WriteFileAtomically(Path("empty"), "").ok());
  const auto mapped = MappedFile::Open(Path("a")).value();
  EXPECT_EQ(std::string(mapped->bytes().begin(), mapped->bytes().end()), "abc");
  EXPECT_TRUE(MappedFile::Open(Path("empty")).value()->bytes().empty());
  EXPECT_EQ(*ReadFile(Path("empty")), "");
}

TEST_F(FilesTest, RefusesToMapWhatIsNoRegularFile) {
  EXPECT_EQ(MappedFile::Open(Path("none")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(MappedFile::Open(directory_).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(FilesTest, MakesDirectoriesOnceAndAgain) {
  EXPECT_TRUE(MakeDirectories(Path("a/b/c"), 0700).ok());
  EXPECT_TRUE(MakeDirectories(Path("a/b/c")).ok());
  EXPECT_TRUE(fs::is_directory(Path("a/b/c")));
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "x").ok());
  EXPECT_FALSE(MakeDirectories(Path("file")).ok());
  EXPECT_FALSE(MakeDirectories(Path("file/below")).ok());
}

}  // namespace
}  // namespace edgetune
