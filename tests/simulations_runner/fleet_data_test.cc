#include "simulations/runner/fleet_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Lines of which each says its number, owner and label.
std::string Line(int number, const std::string& owner) {
  return R"({"prompt": "say )" + std::to_string(number) +
         R"(", "completion": "number )" + std::to_string(number) +
         R"(", "owner": ")" + owner + "\"}\n";
}

class FleetDataTest : public ::testing::Test {
 protected:
  FleetDataTest()
      : run(testing::MakeTestRun(scratch.path(), 4)),
        model(*ModelFile::Open(run.model_path)) {
    run.plan.mutable_data()->set_holdout(0);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(scratch.File(name), std::ios::app) << text;
  }
  absl::StatusOr<std::unique_ptr<FleetData>> Make(const std::string& path,
                                                  const PartitionSpec& spec,
                                                  size_t clients) {
    return FleetData::Make(path, spec, clients, run.plan, model);
  }
  // Every example of the fleet, decoded, with how often it is held.
  std::map<std::string, int> Held(const FleetData& data) {
    std::map<std::string, int> held;
    for (const ClientExamples& client : data.partition()) {
      const LocalData local = *data.Read(client.name, run.plan);
      for (int64_t i = 0; i < local.train->size(); ++i) {
        ++held[model->tokenizer().Decode(local.train->Get(i).tokens)];
      }
    }
    return held;
  }

  const testing::ScratchDirectory scratch;
  testing::TestRun run;
  const std::shared_ptr<const ModelFile> model;
};

TEST_F(FleetDataTest, EveryExampleIsHeldByOneClient) {
  for (int i = 0; i < 23; ++i) Write("all.jsonl", Line(i, "a"));
  const auto data = Make(scratch.File("all.jsonl"), {}, 5);
  ASSERT_TRUE(data.ok()) << data.status();
  const auto held = Held(**data);
  EXPECT_EQ(held.size(), 23u);
  for (const auto& [text, times] : held) EXPECT_EQ(times, 1) << text;
}

TEST_F(FleetDataTest, OwnersKeepTheirLinesAlsoWhenOthersAreLeftOut) {
  Write("all.jsonl", Line(0, "bo"));
  Write("all.jsonl", Line(1, "al"));
  // Cut at max_length before its answer begins: nothing to learn.
  Write("all.jsonl", R"({"prompt": ")" + std::string(400, 'x') +
                         R"(", "completion": "y", "owner": "al"})" + "\n");
  Write("all.jsonl", Line(3, "bo"));
  Write("all.jsonl", Line(4, "al"));
  PartitionSpec spec;
  spec.kind = PartitionSpec::Kind::kNatural;
  spec.field = "owner";
  const auto data = Make(scratch.File("all.jsonl"), spec, 0);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->report().label_less, 1);
  std::map<std::string, std::string> texts;
  for (const ClientExamples& client : (*data)->partition()) {
    const LocalData local = *(*data)->Read(client.name, run.plan);
    for (int64_t i = 0; i < local.train->size(); ++i) {
      texts[client.name] +=
          model->tokenizer().Decode(local.train->Get(i).tokens);
    }
  }
  EXPECT_THAT(texts["al"], HasSubstr("number 1"));
  EXPECT_THAT(texts["al"], HasSubstr("number 4"));
  EXPECT_THAT(texts["bo"], HasSubstr("number 0"));
  EXPECT_THAT(texts["bo"], HasSubstr("number 3"));
  EXPECT_EQ(texts.size(), 2u);
}

TEST_F(FleetDataTest, FilesAreOwnersAndTrainingAndHeldOutFilesOne) {
  const std::string folder = scratch.File("files");
  ASSERT_TRUE(std::filesystem::create_directory(folder));
  Write("files/noun.food.train.jsonl", Line(0, "") + Line(1, ""));
  Write("files/noun.food.heldout.jsonl", Line(2, ""));
  Write("files/verb.jsonl", Line(3, ""));
  PartitionSpec spec;
  spec.kind = PartitionSpec::Kind::kNatural;
  const auto data = Make(folder, spec, 0);
  ASSERT_TRUE(data.ok()) << data.status();
  std::map<std::string, size_t> sizes;
  for (const ClientExamples& client : (*data)->partition()) {
    sizes[client.name] = client.examples.size();
  }
  EXPECT_EQ(sizes,
            (std::map<std::string, size_t>{{"noun.food", 3}, {"verb", 1}}));
}

TEST_F(FleetDataTest, HeldOutExamplesAreTheSameInEveryReading) {
  for (int i = 0; i < 20; ++i) Write("all.jsonl", Line(i, "a"));
  run.plan.mutable_data()->set_holdout(0.25);
  const auto data = *Make(scratch.File("all.jsonl"), {}, 2);
  const std::string& name = data->partition()[0].name;
  const LocalData first = *data->Read(name, run.plan);
  const LocalData again = *data->Read(name, run.plan);
  ASSERT_EQ(first.heldout->size(), 3);  // a quarter of 10, rounded
  EXPECT_EQ(first.train->size(), 7);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first.heldout->Get(i).tokens, again.heldout->Get(i).tokens);
  }
}

TEST_F(FleetDataTest, WhatCannotBeIsSaid) {
  Write("all.jsonl", Line(0, "a") + Line(1, "b"));
  const auto crowded = Make(scratch.File("all.jsonl"), {}, 5).status();
  EXPECT_EQ(ExitCodeOf(crowded), 4);
  EXPECT_THAT(std::string(crowded.message()), HasSubstr("5"));
  EXPECT_EQ(ExitCodeOf(Make(scratch.File("none.jsonl"), {}, 1).status()), 4);
  PartitionSpec spec;
  spec.kind = PartitionSpec::Kind::kNatural;
  spec.field = "missing";
  EXPECT_THAT(
      std::string(Make(scratch.File("all.jsonl"), spec, 0).status().message()),
      HasSubstr("all.jsonl:1"));
  const auto data = *Make(scratch.File("all.jsonl"), {}, 1);
  EXPECT_TRUE(absl::IsNotFound(data->Read("nobody", run.plan).status()));
  run.plan.mutable_data()->set_max_length(32);
  EXPECT_EQ(
      ExitCodeOf(data->Read(data->partition()[0].name, run.plan).status()), 4);
}

}  // namespace
}  // namespace edgetune
