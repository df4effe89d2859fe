#include "simulations/population/label_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/training/packed.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kLines =
    "{\"text\": \"a\", \"topic\": \"sea\"}\n"
    "\n"
    "{\"text\": \"b\", \"topic\": 3}\r\n"
    "{\"text\": \"c\", \"topic\": true}\n"
    "{\"text\": \"d\", \"topic\": -0.5}\n"
    "{\"text\": \"e\", \"topic\": \"\"}";

class ReadLabelsTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, std::string_view bytes) {
    const std::string path = folder_.File(name);
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  void ExpectRefusal(std::string_view lines, const std::string& message) {
    const auto labels = ReadLabels(Write("a.jsonl", lines), "topic");
    EXPECT_EQ(labels.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(KindOf(labels.status()), ErrorKind::kData);
    const std::string got(labels.status().message());
    EXPECT_THAT(got, HasSubstr(message));
    EXPECT_THAT(got, Not(HasSubstr("secret")));
  }

  testing::ScratchDirectory folder_;
};

TEST_F(ReadLabelsTest, ReadsTextsNumbersAndTruthAsText) {
  const auto labels = ReadLabels(Write("a.jsonl", kLines), "topic");
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels, ElementsAre("sea", "3", "true", "-0.5", ""));
}

TEST_F(ReadLabelsTest, ReadsPackedFilesAlike) {
  const auto plain = ReadLabels(Write("a.jsonl", kLines), "topic");
  const auto gzip =
      ReadLabels(Write("a.jsonl.gz", testing::Gzip(kLines)), "topic");
  const auto zstd =
      ReadLabels(Write("a.jsonl.zst", testing::Zstd(kLines)), "topic");
  ASSERT_TRUE(plain.ok() && gzip.ok() && zstd.ok());
  EXPECT_EQ(*plain, *gzip);
  EXPECT_EQ(*plain, *zstd);
}

TEST_F(ReadLabelsTest, ReadsTheFilesOfADirectoryInOrder) {
  Write("b.jsonl", "{\"topic\": \"two\"}\n");
  Write("a.jsonl", "{\"topic\": \"one\"}\n");
  const auto labels = ReadLabels(folder_.path(), "topic");
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels, ElementsAre("one", "two"));
}

TEST_F(ReadLabelsTest, CountsExamplesWhereNoFieldIsAskedFor) {
  const auto labels = ReadLabels(Write("a.jsonl", kLines), "");
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels, ElementsAre("", "", "", "", ""));
}

TEST_F(ReadLabelsTest, KeepsWholeNumbersOf64BitsApart) {
  const auto labels = ReadLabels(Write("a.jsonl",
                                       "{\"topic\": 18446744073709551615}\n"
                                       "{\"topic\": 18446744073709551614}\n"),
                                 "topic");
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels,
              ElementsAre("18446744073709551615", "18446744073709551614"));
}

TEST_F(ReadLabelsTest, RefusesLinesWithoutAUsableLabel) {
  const std::string good = "{\"topic\": \"sea\"}\n";
  ExpectRefusal(good + "{\"other\": \"secret\"}\n",
                "a.jsonl:2: has no \"topic\"");
  ExpectRefusal("{\"topic\": null}",
                "a.jsonl:1: \"topic\" must be text, a "
                "number, true or false, got null");
  ExpectRefusal(good + "\n{\"topic\": [\"secret\"]}", "a.jsonl:3: \"topic\"");
  ExpectRefusal("{\"topic\": {\"secret\": 1}}", "got object");
  ExpectRefusal("{\"topic\": 18446744073709551616}", "too large");
  ExpectRefusal("[\"secret\"]", "a.jsonl:1: not a JSON object but array");
  ExpectRefusal("{\"topic\": \"secret\"", "a.jsonl:1: ");
  ExpectRefusal("{\"topic\": 1, \"topic\": 2}", "a key appears twice");
}

TEST_F(ReadLabelsTest, RefusesFilesWithoutExamples) {
  ExpectRefusal("", "no example in it");
  ExpectRefusal(" \n\n", "no example in it");
  const auto text = ReadLabels(Write("a.txt", "words"), "topic");
  EXPECT_THAT(std::string(text.status().message()),
              HasSubstr("a.txt: plain text, wanted JSON lines"));
  const auto none = ReadLabels(folder_.File("none.jsonl"), "topic");
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace edgetune
