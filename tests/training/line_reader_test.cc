#include "training/line_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/training/packed.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using testing::Gzip;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Zstd;

using Lines = std::vector<std::string>;

class LineReaderTest : public ::testing::Test {
 protected:
  absl::StatusOr<Lines> Read(const std::string& name,
                             const std::string& bytes) {
    const std::string path = folder_.File(name);
    std::ofstream(path, std::ios::binary) << bytes;
    EDGETUNE_ASSIGN_OR_RETURN(auto reader, LineReader::Open(path));
    Lines lines;
    while (true) {
      EDGETUNE_ASSIGN_OR_RETURN(const auto line, reader->Next());
      if (!line) return lines;
      lines.emplace_back(*line);
      EXPECT_EQ(reader->line(), static_cast<int64_t>(lines.size()));
    }
  }

  void ExpectLines(const std::string& name, const std::string& bytes,
                   const Lines& wanted) {
    const auto lines = Read(name, bytes);
    ASSERT_TRUE(lines.ok()) << name << ": " << lines.status();
    EXPECT_EQ(*lines, wanted) << name;
  }

  void ExpectRefusal(const std::string& name, const std::string& bytes,
                     absl::StatusCode code, const std::string& message) {
    const auto lines = Read(name, bytes);
    EXPECT_EQ(lines.status().code(), code) << name << " " << lines.status();
    EXPECT_EQ(KindOf(lines.status()), ErrorKind::kData);
    EXPECT_THAT(std::string(lines.status().message()), HasSubstr(message));
  }

  testing::ScratchDirectory folder_;
};

// Longer than every buffer on the way, and badly packed.
std::string LongText() {
  std::string text;
  uint32_t state = 1;
  for (int i = 0; i < 300000; ++i) {
    state = state * 1664525 + 1013904223;
    text +=
        i % 1000 == 999 ? '\n' : static_cast<char>('!' + (state >> 24) % 90);
  }
  return text;
}

Lines Split(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST_F(LineReaderTest, ReadsThePlainAndThePackedAlike) {
  for (const std::string& text : {std::string("a\n\nb\nc"), LongText(),
                                  std::string(200000, 'x') + "\ny\n"}) {
    ExpectLines("a.jsonl", text, Split(text));
    ExpectLines("a.jsonl.gz", Gzip(text), Split(text));
    ExpectLines("a.jsonl.zst", Zstd(text), Split(text));
  }
}

TEST_F(LineReaderTest, ReadsSeveralMembersAndFramesAsOneFile) {
  ExpectLines("a.gz", Gzip("a\nb") + Gzip("") + Gzip("c\nd\n"),
              {"a", "bc", "d"});
  const std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  ExpectLines("a.zst", Zstd("a\nb") + skippable + Zstd("") + Zstd("c\nd\n"),
              {"a", "bc", "d"});
}

TEST_F(LineReaderTest, AByteOrderMarkAndCarriageReturnsAreNoText) {
  ExpectLines("a.txt",
              "\xef\xbb\xbf"
              "a\r\nb\r\n\r\nc",
              {"a", "b", "", "c"});
  // Elsewhere both are text.
  ExpectLines("a.txt",
              "a\n\xef\xbb\xbf"
              "b\rc\n",
              {"a",
               "\xef\xbb\xbf"
               "b\rc"});
}

TEST_F(LineReaderTest, AnEmptyFileHasNoLines) {
  ExpectLines("a.jsonl", "", {});
  ExpectLines("a.gz", Gzip(""), {});
  ExpectLines("a.zst", Zstd(""), {});
}

TEST_F(LineReaderTest, RefusesWhatIsNotUtf8AndSaysWhere) {
  using enum absl::StatusCode;
  ExpectRefusal("a.jsonl", "ok\nab\xff", kInvalidArgument,
                "a.jsonl:2: not UTF-8 (byte 3 of the line)");
  ExpectRefusal("a.jsonl", "\xc3", kInvalidArgument, ":1: not UTF-8 (byte 1");
  ExpectRefusal("a.gz", Gzip("a\n\xed\xa0\x80"), kInvalidArgument, "a.gz:2:");
  ExpectRefusal("a.txt", std::string("a\0b", 3), kInvalidArgument,
                "a NUL byte, this is no text (byte 2 of the line)");
  ExpectRefusal("a.txt",
                std::string("\xff\xfe"
                            "a\0",
                            4),
                kInvalidArgument, "not UTF-8");
}

TEST_F(LineReaderTest, RefusesEveryArchiveThatIsCutShort) {
  for (const bool gzip : {true, false}) {
    const std::string name = gzip ? "a.gz" : "a.zst";
    const std::string whole =
        gzip ? Gzip("some text\nand more\n") : Zstd("some text\nand more\n");
    for (size_t size = 0; size < whole.size(); ++size) {
      ExpectRefusal(name, whole.substr(0, size), absl::StatusCode::kDataLoss,
                    "it ends too early");
    }
    const std::string second = whole + whole.substr(0, whole.size() / 2);
    ExpectRefusal(name, second, absl::StatusCode::kDataLoss, "ends too early");
  }
}

TEST_F(LineReaderTest, RefusesOtherBytesBehindAnArchive) {
  for (const std::string& rest : {std::string("more"), std::string(4, '\0')}) {
    ExpectRefusal("a.gz", Gzip("a\n") + rest, absl::StatusCode::kDataLoss,
                  "other bytes follow its end");
    ExpectRefusal("a.zst", Zstd("a\n") + rest, absl::StatusCode::kDataLoss,
                  "other bytes follow its end");
  }
}

TEST_F(LineReaderTest, NoticesEveryFlippedBitOfTheContent) {
  const std::string text = LongText().substr(0, 3000);
  // Headers of both formats have bits that say nothing about the content.
  for (const std::string& whole : {Gzip(text), Zstd(text)}) {
    const std::string name = whole[0] == '\x1f' ? "a.gz" : "a.zst";
    for (size_t at = 10; at < whole.size(); at += 7) {
      std::string bad = whole;
      bad[at] ^= 1;
      EXPECT_TRUE(absl::IsDataLoss(Read(name, bad).status())) << name << at;
    }
  }
}

TEST_F(LineReaderTest, RefusesAWindowThatTakesTooMuchMemory) {
  ExpectLines("a.zst", Zstd("a\n", 23), {"a"});
  ExpectRefusal("a.zst", Zstd("a\n", 24), absl::StatusCode::kDataLoss,
                "its window is above 8 MiB");
}

TEST_F(LineReaderTest, RefusesALineAboveTheLimitWithoutUnpackingItWhole) {
  const std::string bomb = Gzip("a\n" + std::string(kMaxLineBytes + 1, 'x'));
  EXPECT_LT(bomb.size(), 20000u);
  ExpectRefusal("a.gz", bomb, absl::StatusCode::kInvalidArgument,
                "a.gz:2: the line is longer than 16777216 bytes");
  ExpectLines("a.gz", Gzip(std::string(kMaxLineBytes, 'x') + "\n"),
              {std::string(kMaxLineBytes, 'x')});
}

TEST_F(LineReaderTest, SaysThatAFileIsPackedWhenItsNameDoesNot) {
  for (const std::string& bytes : {Gzip("a\n"), Zstd("a\n")}) {
    const auto lines = Read("a.jsonl", bytes);
    EXPECT_THAT(std::string(lines.status().message()), HasSubstr("packed"));
    EXPECT_THAT(HintOf(lines.status()), HasSubstr("its name end in ."));
  }
  ExpectRefusal("a.gz", "{\"text\":\"plain\"}\n", absl::StatusCode::kDataLoss,
                "this is no gzip file");
  ExpectRefusal("a.zst", "{\"text\":\"plain\"}\n", absl::StatusCode::kDataLoss,
                "this is no Zstandard file");
}

TEST_F(LineReaderTest, ADirectoryAndAMissingFileAreBadData) {
  for (const std::string& path : {folder_.path(), folder_.File("nothing")}) {
    EXPECT_EQ(KindOf(LineReader::Open(path).status()), ErrorKind::kData);
  }
}

}  // namespace
}  // namespace edgetune
