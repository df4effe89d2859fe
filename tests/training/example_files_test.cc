#include "training/example_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"
#include "training/example_encoder.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExampleFilesTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.File(name), std::ios::binary) << text;
    return folder_.File(name);
  }

  std::unique_ptr<ModelFile> Model() {
    const std::string path = folder_.File("model.gguf");
    EXPECT_TRUE(testing::WriteTinyModel(path).ok());
    auto file = ModelFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  testing::ScratchDirectory folder_;
};

TEST_F(ExampleFilesTest, ADirectoryIsItsFilesOfExamplesInOrder) {
  for (const char* name :
       {"b.jsonl", "LICENSE.txt", "c.jsonl.gz", "B.jsonl.zst", "notes.md",
        ".hidden.jsonl", "model.gguf"}) {
    Write(name, "");
  }
  std::filesystem::create_directory(folder_.File("d.jsonl"));
  const auto files = ExampleFilesIn({"given.json", folder_.path()});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(*files,
              ElementsAre("given.json", folder_.File("B.jsonl.zst"),
                          folder_.File("b.jsonl"), folder_.File("c.jsonl.gz")));
}

TEST_F(ExampleFilesTest, ADirectoryWithoutJsonLinesIsItsTexts) {
  for (const char* name : {"b.txt", "a.txt", "notes.md"}) Write(name, "");
  EXPECT_THAT(*ExampleFilesIn({folder_.path()}),
              ElementsAre(folder_.File("a.txt"), folder_.File("b.txt")));
}

TEST_F(ExampleFilesTest, ADirectoryWithoutExamplesIsRefused) {
  Write("notes.md", "");
  const absl::Status status = ExampleFilesIn({folder_.path()}).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no file of examples"));
}

TEST_F(ExampleFilesTest, TheFirstLineDecidesForAllFiles) {
  std::optional<TextSchema> schema;
  const auto take = [](const ExampleLine&) { return absl::OkStatus(); };
  EXPECT_TRUE(
      ReadExamples(Write("a", "\n{\"text\":\"x\"}\n"), schema, take, nullptr)
          .ok());
  EXPECT_EQ(schema, TextSchema::kText);
  const absl::Status status =
      ReadExamples(Write("b", "{\"prompt\":\"x\",\"completion\":\"y\"}"),
                   schema, take, nullptr);
  EXPECT_THAT(std::string(status.message()), HasSubstr("b:1: has no \"text\""));
}

TEST_F(ExampleFilesTest, PartsOfATextHaveTheTokensOfTheWhole) {
  std::string text;
  for (int i = 0; text.size() < 3'500'000; ++i) {
    text += i % 7 == 0 ? "\n\n" : i % 5 == 0 ? "\n  it's 12\t" : "\nThe end. ";
  }
  const auto model = Model();
  std::vector<int32_t> ids;
  int parts = 0;
  std::string joined;
  ASSERT_TRUE(ReadPlainText(
                  Write("a.txt", text),
                  [&](std::string_view part) {
                    ++parts;
                    joined += part;
                    const auto more = model->tokenizer().Encode(part, false);
                    ids.insert(ids.end(), more.begin(), more.end());
                    return absl::OkStatus();
                  },
                  nullptr)
                  .ok());
  EXPECT_GT(parts, 2);
  EXPECT_TRUE(joined == text);
  EXPECT_TRUE(ids == model->tokenizer().Encode(text, false));
}

TEST_F(ExampleFilesTest, BlocksHoldAllTokensOfATextAndNeverTwoTexts) {
  const auto model = Model();
  TextBlocks blocks(model->tokenizer(), 4);
  std::vector<std::vector<int32_t>> all;
  for (const char* text : {"0123456", "89", "", "0123"}) {
    for (auto& block : blocks.Add(text)) all.push_back(block.tokens);
    for (auto& block : blocks.EndText()) {
      EXPECT_THAT(block.labelled, ::testing::Each(1));
      all.push_back(block.tokens);
    }
  }
  std::vector<std::string> texts;
  for (const auto& ids : all) texts.push_back(model->tokenizer().Decode(ids));
  EXPECT_THAT(texts, ElementsAre("0123", "456", "89", "0123"));
}

}  // namespace
}  // namespace edgetune
