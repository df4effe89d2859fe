#include "tools/data/wordnet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Lines in the form of wndb(5WN); words and glosses are our own.
constexpr char kNouns[] =
    "  1 A licence line.  \n"
    "  2 Another one.  \n"
    "00000001 05 n 01 otter 0 000 | a mammal of rivers  \n"
    "00000002 05 n 02 field_mouse 0 mouse 0 000 | a small rodent; \"it ran\"\n"
    "00000003 13 n 01 bread 0 000 | food of flour and water\n"
    "00000004 05 n 01 owl 0 000 | a bird of the night\n"
    "00000005 13 n 0b soup 0 000 | liquid food\n";

class WordNetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/wordnet_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    ASSERT_TRUE(MakeDirectories(folder_).ok());
    Write("noun", kNouns);
    Write("verb", "");
    Write("adj", "00000009 00 a 01 galore(ip) 0 000 | in plenty\n");
    Write("adv", "");
    options_.dictionary = folder_;
    options_.topics = {"noun.animal", "noun.food"};
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& part, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/data." + part, text).ok());
  }
  std::string Read(const std::string& name) {
    auto text = ReadFile(folder_ + "/out/" + name);
    return text.ok() ? *text : text.status().ToString();
  }

  std::string folder_;
  WordNetOptions options_;
};

TEST_F(WordNetTest, WritesOneChatExampleALine) {
  auto files = WriteWordNet(options_, folder_ + "/out");
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->at(0).train_examples, 2);
  EXPECT_EQ(files->at(0).heldout_examples, 1);
  const std::string all =
      Read("noun.animal.train.jsonl") + Read("noun.animal.heldout.jsonl");
  EXPECT_THAT(
      all, HasSubstr("{\"messages\":[{\"role\":\"user\",\"content\":\"Define: "
                     "field mouse\"},{\"role\":\"assistant\",\"content\":\"a "
                     "small rodent; \\\"it ran\\\"\"}]}\n"));
  EXPECT_THAT(all, HasSubstr("Define: otter"));
  EXPECT_THAT(all, HasSubstr("Define: owl"));
}

TEST_F(WordNetTest, SeedAloneDecidesTheFiles) {
  ASSERT_TRUE(WriteWordNet(options_, folder_ + "/out").ok());
  const std::string first = Read("noun.animal.train.jsonl");
  ASSERT_TRUE(WriteWordNet(options_, folder_ + "/out").ok());
  EXPECT_EQ(Read("noun.animal.train.jsonl"), first);
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    options_.seed = seed;
    ASSERT_TRUE(WriteWordNet(options_, folder_ + "/out").ok());
    seen.insert(Read("noun.animal.train.jsonl"));
  }
  EXPECT_GT(seen.size(), 1u);
}

TEST_F(WordNetTest, KeepsTheLicenceBesideTheData) {
  ASSERT_TRUE(WriteWordNet(options_, folder_ + "/out").ok());
  EXPECT_THAT(Read("WORDNET-LICENSE.txt"),
              HasSubstr("A licence line.\nAnother one.\n"));
}

TEST_F(WordNetTest, MarkersOfAdjectivesAreCut) {
  auto line = ParseWordNetLine("00000009 00 a 01 galore(ip) 0 000 | in plenty");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->topic, 0);
  EXPECT_EQ(line->example.user, "Define: galore");
  EXPECT_EQ(line->example.assistant, "in plenty");
}

TEST_F(WordNetTest, LargestTopicsComeFirst) {
  auto topics = LargestTopics(folder_, 3);
  ASSERT_TRUE(topics.ok()) << topics.status();
  EXPECT_THAT(*topics, ElementsAre("noun.animal", "noun.food", "adj.all"));
  EXPECT_EQ(KindOf(LargestTopics(folder_, 46).status()), ErrorKind::kUsage);
}

TEST_F(WordNetTest, BadLinesNameFileAndLine) {
  for (const char* bad :
       {"00000001 05 n 01 otter 0 000 no gloss", "00000001 45 n 01 x 0 | g",
        "00000001 zz n 01 x 0 | g", "00000001 05 n 00 x 0 | g",
        "00000001 05 n 01 x 0 |   ", "00000001 05 n 01 \xff 0 | g", "",
        "00000001 05 n 01 | g"}) {
    Write("noun", std::string(kNouns) + bad + "\n");
    const absl::Status status =
        WriteWordNet(options_, folder_ + "/out").status();
    EXPECT_EQ(ExitCodeOf(status), 4) << bad;
    EXPECT_THAT(std::string(status.message()), HasSubstr("data.noun:8:"))
        << bad;
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/out")) << bad;
  }
}

TEST_F(WordNetTest, UnknownTopicGetsASuggestion) {
  options_.topics = {"noun.animl"};
  const absl::Status status = WriteWordNet(options_, folder_ + "/out").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  EXPECT_EQ(HintOf(status), "did you mean noun.animal?");
}

TEST_F(WordNetTest, MissingDictionarySaysWhatToInstall) {
  options_.dictionary = folder_ + "/nowhere";
  const absl::Status status = WriteWordNet(options_, folder_ + "/out").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_THAT(HintOf(status), HasSubstr("wordnet-base"));
}

TEST_F(WordNetTest, NamesOfTopicsStandInTheOrderOfTheirNumbers) {
  // lexnames(5WN)
  ASSERT_EQ(WordNetTopics().size(), 45u);
  EXPECT_EQ(WordNetTopics()[3], "noun.Tops");
  EXPECT_EQ(WordNetTopics()[28], "noun.time");
  EXPECT_EQ(WordNetTopics()[29], "verb.body");
  EXPECT_EQ(WordNetTopics()[38], "verb.motion");
  EXPECT_EQ(WordNetTopics()[44], "adj.ppl");
}

}  // namespace
}  // namespace edgetune
