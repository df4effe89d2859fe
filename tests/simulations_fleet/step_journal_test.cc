// What a simulation keeps of its finished steps, whole and cut anywhere.

#include "simulations/fleet/step_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::Optional;

constexpr uint64_t kMost = 1 << 20;
constexpr uint64_t kHead = 80;

Digest Key(const std::string& name) { return Sha256(name); }

class StepJournalTest : public ::testing::Test {
 protected:
  std::unique_ptr<StepJournal> Open(uint64_t most = kMost) {
    auto journal = StepJournal::Open(path_, most);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return *std::move(journal);
  }
  std::string Bytes() const { return *ReadFile(path_); }
  void Write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  const testing::ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("steps");
};

TEST_F(StepJournalTest, WhatWasKeptIsFoundAlsoByTheNextProcess) {
  {
    const auto journal = Open();
    journal->Add(Key("a"), "one");
    journal->Add(Key("b"), "");
    EXPECT_THAT(journal->Find(Key("a")), Optional(std::string("one")));
    EXPECT_EQ(journal->Find(Key("c")), std::nullopt);
  }
  const auto again = Open();
  EXPECT_EQ(again->steps(), 2u);
  EXPECT_EQ(again->bytes(), 2 * kHead + 3);
  EXPECT_THAT(again->Find(Key("a")), Optional(std::string("one")));
  EXPECT_THAT(again->Find(Key("b")), Optional(std::string()));
}

// A process may be killed within any write.
TEST_F(StepJournalTest, CutAtAnyByteItHasTheRecordsBeforeAndGoesOn) {
  {
    const auto journal = Open();
    journal->Add(Key("a"), "one");
    journal->Add(Key("b"), "second");
  }
  const std::string whole = Bytes();
  const size_t first = kHead + 3;
  for (size_t size = 0; size <= whole.size(); ++size) {
    Write(whole.substr(0, size));
    {
      const auto journal = Open();
      const size_t steps = size == whole.size() ? 2 : size >= first ? 1 : 0;
      ASSERT_EQ(journal->steps(), steps) << size;
      journal->Add(Key("c"), "third");
    }
    const auto again = Open();
    ASSERT_EQ(again->Find(Key("a")).has_value(), size >= first) << size;
    ASSERT_THAT(again->Find(Key("c")), Optional(std::string("third"))) << size;
  }
}

// What a power failure leaves: the length is there, the bytes are not.
TEST_F(StepJournalTest, ADamagedRecordIsNotFoundAndReplaced) {
  {
    const auto journal = Open();
    journal->Add(Key("a"), "one");
    journal->Add(Key("b"), "two");
  }
  std::string bytes = Bytes();
  bytes[kHead + 1] = 'x';
  Write(bytes);
  {
    const auto journal = Open();
    EXPECT_EQ(journal->Find(Key("a")), std::nullopt);
    EXPECT_THAT(journal->Find(Key("b")), Optional(std::string("two")));
    journal->Add(Key("a"), "one");
  }
  EXPECT_THAT(Open()->Find(Key("a")), Optional(std::string("one")));
}

TEST_F(StepJournalTest, AFileOfSomethingElseIsEmptied) {
  Write(std::string(1000, 'z'));
  EXPECT_EQ(Open()->steps(), 0u);
  EXPECT_EQ(Bytes(), "");
}

TEST_F(StepJournalTest, ItKeepsNothingBeyondItsSpace) {
  const auto journal = Open(2 * kHead + 10);
  journal->Add(Key("a"), "12345");
  journal->Add(Key("b"), "123456");
  journal->Add(Key("c"), "");
  EXPECT_TRUE(journal->Find(Key("a")).has_value());
  EXPECT_FALSE(journal->Find(Key("b")).has_value());
  EXPECT_LE(std::filesystem::file_size(path_), 2 * kHead + 10);
}

TEST_F(StepJournalTest, ASecondProcessIsKeptAway) {
  const auto journal = Open();
  EXPECT_TRUE(
      absl::IsFailedPrecondition(StepJournal::Open(path_, kMost).status()));
}

}  // namespace
}  // namespace edgetune
