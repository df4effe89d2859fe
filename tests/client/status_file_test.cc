#include "client/status_file.h"

#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using testing::ScratchDirectory;

DeviceStatus Example() {
  DeviceStatus status;
  status.state = "training";
  status.detail = "\"quoted\"";
  status.run_id = "0123456789abcdef";
  status.round = 2;
  status.changed = "2026-01-01T00:00:00+00:00";
  status.last_run_id = "fedcba9876543210";
  status.last_ending = "accepted";
  return status;
}

TEST(StatusFileTest, ReadsWhatWasWritten) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(WriteDeviceStatus(scratch.path(), Example()).ok());
  const auto status = ReadDeviceStatus(scratch.path());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(*status, Example());
}

TEST(StatusFileTest, MissingIsNotFound) {
  const ScratchDirectory scratch;
  EXPECT_TRUE(absl::IsNotFound(ReadDeviceStatus(scratch.path()).status()));
}

TEST(StatusFileTest, AnotherFileIsDataLoss) {
  const ScratchDirectory scratch;
  for (const char* text : {"", "[]", "{}", "{\"state\":1}", "{\"sta"}) {
    ASSERT_TRUE(WriteFileAtomically(scratch.File("status.json"), text).ok());
    EXPECT_TRUE(absl::IsDataLoss(ReadDeviceStatus(scratch.path()).status()))
        << text;
  }
}

TEST(StatusFileTest, BytesThatAreNoTextAreReplaced) {
  const ScratchDirectory scratch;
  DeviceStatus status = Example();
  status.last_detail = "\xff";
  ASSERT_TRUE(WriteDeviceStatus(scratch.path(), status).ok());
  EXPECT_EQ(ReadDeviceStatus(scratch.path())->last_detail, "\xEF\xBF\xBD");
}

TEST(StatusFileTest, TextTellsStateSessionAndLastEnding) {
  EXPECT_EQ(DeviceStatusText(Example()),
            "training: \"quoted\"\n"
            "run 01234567 round 2 attempt 0\n"
            "since 2026-01-01T00:00:00+00:00\n"
            "last: run fedcba98 round 0 accepted");
}

}  // namespace
}  // namespace edgetune
