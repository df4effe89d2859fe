#include "simulations/population/device_trace.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/training/packed.h"

namespace edgetune {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

const std::string kHeader =
    "device_class,speed,memory_mb,down_mbit,up_mbit,latency_ms,dropout,"
    "available\n";
const std::string kRow = "phone,80,1500,40,10,35.5,0.1,0.25\n";

class DeviceTraceTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<DeviceProfile>> Read(
      const std::string& bytes, const std::string& name = "d.csv") {
    const std::string path = folder_.File(name);
    std::ofstream(path, std::ios::binary) << bytes;
    return ReadDeviceTrace(path);
  }

  void ExpectRefusal(const std::string& bytes, const std::string& message) {
    const auto rows = Read(bytes);
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument)
        << bytes;
    EXPECT_EQ(KindOf(rows.status()), ErrorKind::kData);
    EXPECT_THAT(std::string(rows.status().message()), HasSubstr(message));
  }

  // Row 3 of a file, with one of its values replaced.
  void ExpectWrongValue(size_t column, const std::string& value,
                        const std::string& message) {
    std::array<std::string, 8> cells = {"phone", "80", "1500", "40",
                                        "10",    "35", "0.1",  "1"};
    cells[column] = value;
    const std::string row = fmt::format("{}\n", fmt::join(cells, ","));
    ExpectRefusal(kHeader + kRow + row, message);
  }

  testing::ScratchDirectory folder_;
};

TEST_F(DeviceTraceTest, ReadsRowsInOrderAndInTheirUnits) {
  const auto rows = Read(kHeader + kRow + "\ngw-1,300,0.5e3,100,40,0,0,1\r\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2u);
  const DeviceProfile& phone = rows->front();
  EXPECT_EQ(phone.device_class, "phone");
  EXPECT_EQ(phone.speed, 80);
  EXPECT_EQ(phone.memory_bytes, 1'500'000'000u);
  EXPECT_EQ(phone.down_bytes_s, 5e6);
  EXPECT_EQ(phone.up_bytes_s, 1.25e6);
  EXPECT_EQ(phone.latency, absl::Microseconds(35500));
  EXPECT_EQ(phone.dropout, 0.1);
  EXPECT_THAT(phone.available, Each(0.25f));
  EXPECT_EQ(rows->back().device_class, "gw-1");
  EXPECT_EQ(rows->back().memory_bytes, 500'000'000u);
}

TEST_F(DeviceTraceTest, ReadsAValueForEachHour) {
  std::string row = "phone,80,1500,40,10,35,0.1,0";
  for (int hour = 1; hour < 24; ++hour) {
    row += ";" + std::to_string(hour / 32.0);
  }
  const auto rows = Read(kHeader + row + "\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  for (size_t hour = 0; hour < 24; ++hour) {
    EXPECT_EQ(rows->front().available[hour], static_cast<float>(hour) / 32);
  }
}

TEST_F(DeviceTraceTest, ReadsALargestRankWhereThereIsSuchAColumn) {
  const std::string header = kHeader.substr(0, kHeader.size() - 1) + ",rank\n";
  const auto rows = Read(header + "phone,80,1500,40,10,35,0.1,1,4\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->front().rank, 4);
  EXPECT_EQ(Read(kHeader + kRow)->front().rank, 0);
  ExpectRefusal(header + kRow, "d.csv:2:available: got 8 values");
  for (const char* wrong : {"0", "1025", "2.5", "", "all"}) {
    ExpectRefusal(header + "phone,80,1500,40,10,35,0.1,1," + wrong + "\n",
                  "d.csv:2:rank: got \"" + std::string(wrong) + "\"");
  }
}

TEST_F(DeviceTraceTest, ReadsPackedFilesAlike) {
  const auto gzip = Read(testing::Gzip(kHeader + kRow), "d.csv.gz");
  const auto zstd = Read(testing::Zstd(kHeader + kRow), "d.csv.zst");
  ASSERT_TRUE(gzip.ok() && zstd.ok());
  EXPECT_EQ(gzip->front().speed, 80);
  EXPECT_EQ(zstd->front().speed, 80);
}

TEST_F(DeviceTraceTest, RefusesAnotherHeader) {
  ExpectRefusal(kRow,
                "d.csv:1:device_class: got \"phone\", wanted the header "
                "device_class,speed,memory_mb,");
  ExpectRefusal("device_class,speed\n",
                "d.csv:1:memory_mb: got no such column");
  ExpectRefusal(
      "device_class,memory_mb,speed,down_mbit,up_mbit,latency_ms,"
      "dropout,available\n",
      "d.csv:1:speed: got \"memory_mb\"");
  ExpectRefusal(kHeader.substr(0, kHeader.size() - 1) + ",more,most\n",
                "d.csv:1:available: got 2 columns after it");
}

TEST_F(DeviceTraceTest, RefusesTooFewOrTooManyValues) {
  ExpectRefusal(kHeader + "phone,80,1500\n",
                "d.csv:2:memory_mb: got 3 values, this the last that fits, "
                "wanted 8");
  ExpectRefusal(kHeader + kRow + "phone,80,1500,40,10,35,0.1,1,9\n",
                "d.csv:3:available: got 9 values");
}

TEST_F(DeviceTraceTest, RefusesWrongValuesOneByOne) {
  for (const char* text :
       {"", "fast", "0", "-1", "1e10", "nan", "inf", " 5", "5 ", "0x10"}) {
    ExpectWrongValue(1, text,
                     "d.csv:3:speed: got \"" + std::string(text) +
                         "\", wanted a number above 0 and at most");
  }
  ExpectWrongValue(2, "0.5",
                   "d.csv:3:memory_mb: got \"0.5\", wanted a number "
                   "from 1 and at most");
  ExpectWrongValue(3, "0", "d.csv:3:down_mbit: got \"0\"");
  ExpectWrongValue(4, "1e7", "d.csv:3:up_mbit: got \"1e7\"");
  ExpectWrongValue(5, "-0.1", "d.csv:3:latency_ms: got \"-0.1\"");
  ExpectWrongValue(6, "1.01",
                   "d.csv:3:dropout: got \"1.01\", wanted a number "
                   "from 0 and at most 1");
}

TEST_F(DeviceTraceTest, RefusesWrongClasses) {
  for (const char* text : {"", "low end", "\"phone\"", "ph\xc3\xb6ne"}) {
    ExpectWrongValue(0, text, "d.csv:3:device_class: got ");
  }
  ExpectWrongValue(0, std::string(33, 'a'), "wanted 1 to 32 letters, digits");
  // What would reach a terminal is shown as an escape.
  ExpectWrongValue(0, "\x1b[2J", "got \"\\x1b[2J\"");
}

TEST_F(DeviceTraceTest, RefusesWrongHours) {
  ExpectWrongValue(7, "",
                   "d.csv:3:available: got \"\", wanted a number from 0 "
                   "and at most 1 as value 1");
  ExpectWrongValue(7, "0.5;0.5",
                   "d.csv:3:available: got 2 values, wanted 1, "
                   "or 24 with ';' between them");
  std::string hours = "1";
  for (int hour = 1; hour < 23; ++hour) hours += ";1";
  ExpectWrongValue(7, hours, "got 23 values");
  ExpectWrongValue(7, hours + ";1;1", "got 25 values");
  ExpectWrongValue(7, hours + ";1.5",
                   "got \"1.5\", wanted a number from 0 and "
                   "at most 1 as value 24");
}

TEST_F(DeviceTraceTest, RefusesFilesWithoutRowsOrWithTooMany) {
  ExpectRefusal("", "d.csv: got an empty file");
  ExpectRefusal(kHeader + "\n", "d.csv: got no row after the header");
  std::string many = kHeader;
  for (size_t i = 0; i <= kMaxTraceRows; ++i) many += "a,1,1,1,1,0,0,1\n";
  ExpectRefusal(many, "d.csv:100002: got one more row, wanted at most 100000");
  EXPECT_EQ(ReadDeviceTrace(folder_.File("none.csv")).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace edgetune
