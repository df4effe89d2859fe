#include "simulations/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tests/simulations_report/run_log.h"
#include "tests/testing/file_faults.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/small_disk.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::set<std::string> FilesBelow(const std::string& directory) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) {
      files.insert(entry.path().lexically_relative(directory));
    }
  }
  return files;
}

class ReportTest : public ::testing::Test {
 protected:
  ReportTest() {
    testing::RunLog log;
    log.Measured(0, 3, 1);
    log.Started(1, 1);
    log.Committed(1, 2, 1);
    log.Measured(1, 2, 1);
    run_ = log.Summary();
  }

  void ExpectNotOurs(const std::string& why) {
    for (const absl::Status& status :
         {CheckReportPlace(place_), WriteReport(run_, place_)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << why;
      EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
      EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    }
  }

  testing::ScratchDirectory folder_;
  const std::string place_ = folder_.File("report");
  RunSummary run_;
};

TEST_F(ReportTest, AReportIsItsFiles) {
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  EXPECT_THAT(FilesBelow(folder_.path()),
              ElementsAre("report/clients.csv", "report/groups.csv",
                          "report/index.html", "report/report.json",
                          "report/rounds.csv",
                          "report/tb/events.out.tfevents.0.edgetune"));
}

TEST_F(ReportTest, EqualRunsMakeEqualBytes) {
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  const std::string other = folder_.File("other/");
  ASSERT_TRUE(WriteReport(run_, other).ok());
  for (const std::string& file : FilesBelow(place_)) {
    EXPECT_EQ(*ReadFile(place_ + "/" + file), *ReadFile(other + file)) << file;
  }
}

TEST_F(ReportTest, AnOlderReportIsReplacedWhole) {
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  run_.header.name = "the second";
  ASSERT_TRUE(
      WriteComparison({run_, run_}, Compare({run_, run_}, {}), place_).ok());
  EXPECT_THAT(FilesBelow(folder_.path()),
              ElementsAre("report/comparison.csv", "report/index.html",
                          "report/report.json"));
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  EXPECT_THAT(*ReadFile(place_ + "/index.html"), HasSubstr("the second"));
}

TEST_F(ReportTest, WhatIsNotOursStays) {
  std::ofstream(place_) << "mine";
  ExpectNotOurs("is no directory");
  fs::remove(place_);
  fs::create_directory(place_);
  ExpectNotOurs("is no report");
  std::ofstream(place_ + "/report.json") << "{\"mine\": 1}";
  ExpectNotOurs("is no report");
  fs::remove_all(place_);
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  std::ofstream(place_ + "/tb/notes.txt") << "mine";
  ExpectNotOurs("holds tb/notes.txt");
  EXPECT_EQ(*ReadFile(place_ + "/tb/notes.txt"), "mine");
  const std::string real = place_ + ".real";
  fs::rename(place_, real);
  fs::remove(real + "/tb/notes.txt");
  fs::create_directory_symlink(real, place_);
  ExpectNotOurs("is no directory");
}

TEST_F(ReportTest, AFullDiskLeavesTheOlderReport) {
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  const std::string before = *ReadFile(place_ + "/index.html");
  run_.header.name = "the second";
  {
    testing::SmallDisk disk(1000);
    EXPECT_FALSE(WriteReport(run_, place_).ok());
  }
  EXPECT_EQ(*ReadFile(place_ + "/index.html"), before);
  EXPECT_EQ(FilesBelow(folder_.path()).size(), 6u);  // and nothing beside it
}

// The last two renames put the older one aside and the new one in its place.
TEST_F(ReportTest, ARenameThatFailsLeavesTheOlderReport) {
  ASSERT_TRUE(WriteReport(run_, place_).ok());
  const std::string before = *ReadFile(place_ + "/index.html");
  run_.header.name = "the second";
  for (const int64_t at : {6, 7}) {
    testing::FileFaults faults({.directory = folder_.path(),
                                .kind = testing::FileFaults::Kind::kError,
                                .at = at,
                                .error = EIO,
                                .calls = {"rename"}});
    const absl::Status status = WriteReport(run_, place_);
    EXPECT_TRUE(faults.struck());
    EXPECT_THAT(std::string(status.message()), HasSubstr("cannot replace"));
    EXPECT_EQ(*ReadFile(place_ + "/index.html"), before);
    EXPECT_EQ(FilesBelow(folder_.path()).size(), 6u);
  }
}

}  // namespace
}  // namespace edgetune
