// Blobs in memory that are spilled to files: whoever reads them sees the same.

#include "storage/memory_blobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "privacy/crypto/secret.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

constexpr size_t kSize = 10'000;

std::string Text(int number) {
  std::string text(kSize, static_cast<char>('a' + number));
  text[0] = static_cast<char>(number);
  return text;
}

class MemoryBlobsSpillTest : public ::testing::Test {
 protected:
  Digest Put(int number) { return *store_.Put(ByteSpan(Text(number))); }
  std::string Read(const Digest& digest) {
    const auto blob = *store_.Get(digest);
    return {blob->bytes().begin(), blob->bytes().end()};
  }
  void SpillTo(uint64_t most) { memory_.SpillTo(scratch_.path(), most); }

  const testing::ScratchDirectory scratch_;
  MemoryBlobs memory_;
  MemoryBlobStore store_{&memory_};
};

TEST_F(MemoryBlobsSpillTest, AsManyAreHeldAsMayBeAndAllReadTheSame) {
  SpillTo(3 * kSize);
  std::vector<Digest> digests;
  for (int i = 0; i < 8; ++i) {
    digests.push_back(Put(i));
    EXPECT_EQ(memory_.held(), std::min<size_t>(i + 1, 3) * kSize);
  }
  EXPECT_EQ(memory_.size(), 8 * kSize);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 8; ++i) EXPECT_EQ(Read(digests[i]), Text(i));
  }
  EXPECT_EQ(memory_.held(), 3 * kSize);
  EXPECT_TRUE(memory_.status().ok()) << memory_.status();
}

TEST_F(MemoryBlobsSpillTest, ACeilingThatComesLaterSpillsWhatIsThere) {
  const Digest first = Put(1), second = Put(2);
  SpillTo(0);
  EXPECT_EQ(memory_.held(), 0u);
  EXPECT_EQ(Read(first) + Read(second), Text(1) + Text(2));
}

TEST_F(MemoryBlobsSpillTest, WhatIsBeingReadStaysWhereItIs) {
  const Digest first = Put(1);
  const auto reader = *store_.Get(first);
  const uint8_t* const at = reader->bytes().data();
  SpillTo(0);
  Put(2);
  Put(3);
  // The reader's and the newest.
  EXPECT_EQ(memory_.held(), 2 * kSize);
  EXPECT_EQ(reader->bytes().data(), at);
  EXPECT_EQ(std::string(reader->bytes().begin(), reader->bytes().end()),
            Text(1));
}

TEST_F(MemoryBlobsSpillTest, IdleIsWhatNobodyReadSinceTheLastTime) {
  SpillTo(UINT64_MAX);
  const Digest read = Put(1), idle = Put(2);
  memory_.SpillIdle();
  EXPECT_EQ(memory_.held(), 2 * kSize);
  Read(read);
  memory_.SpillIdle();
  EXPECT_EQ(memory_.held(), kSize);
  memory_.SpillIdle();
  EXPECT_EQ(memory_.held(), 0u);
  EXPECT_EQ(Read(read) + Read(idle), Text(1) + Text(2));
}

TEST_F(MemoryBlobsSpillTest, PagesOfWhatIsGoneServeTheNextOfTheirSize) {
  const Digest first = Put(1), second = Put(2);
  EXPECT_EQ(memory_.spare(), 0u);
  ASSERT_TRUE(store_.Remove(first).ok());
  EXPECT_EQ(memory_.spare(), kSize);
  const Digest third = Put(3);
  EXPECT_EQ(memory_.spare(), 0u);
  EXPECT_EQ(Read(second) + Read(third), Text(2) + Text(3));

  // Another size finds none; beyond the most that was held at once they go.
  ASSERT_TRUE(store_.Remove(third).ok());
  const std::string larger(kSize + kSize / 2, 'x');
  const Digest other = *store_.Put(ByteSpan(larger));
  EXPECT_EQ(memory_.spare(), 0u);
  EXPECT_EQ(Read(other), larger);
}

TEST_F(MemoryBlobsSpillTest, SparePagesCountTowardsTheCeiling) {
  const Digest first = Put(1), second = Put(2);
  Put(3);
  ASSERT_TRUE(store_.Remove(first).ok());
  ASSERT_TRUE(store_.Remove(second).ok());
  EXPECT_EQ(memory_.spare(), 2 * kSize);
  SpillTo(2 * kSize);
  EXPECT_EQ(memory_.held(), kSize);
  EXPECT_EQ(memory_.spare(), kSize);
}

TEST_F(MemoryBlobsSpillTest, WithoutADirectoryEverythingStays) {
  Put(1);
  memory_.SpillIdle();
  memory_.SpillIdle();
  EXPECT_EQ(memory_.held(), kSize);
}

TEST_F(MemoryBlobsSpillTest, WhatIsSpilledHasNoNameAndGoesWithItsStores) {
  SpillTo(0);
  MemoryBlobStore other(&memory_);
  const Digest digest = Put(1);
  Put(2);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
  EXPECT_TRUE(other.Adopt(digest));
  EXPECT_TRUE(store_.Remove(digest).ok());
  EXPECT_EQ((*other.Get(digest))->bytes()[1], 'b');
  EXPECT_TRUE(other.Remove(digest).ok());
  EXPECT_EQ(memory_.size(), kSize);
  EXPECT_FALSE(store_.Has(digest));
}

// The disk is full, the directory is gone.
TEST_F(MemoryBlobsSpillTest, WhatCannotBeSpilledStaysAndIsTold) {
  memory_.SpillTo(scratch_.File("nowhere"), 0);
  const Digest digest = Put(1);
  Put(2);
  EXPECT_FALSE(memory_.status().ok());
  EXPECT_EQ(memory_.held(), 2 * kSize);
  EXPECT_EQ(Read(digest), Text(1));
}

TEST_F(MemoryBlobsSpillTest, AnEmptyBlobAndAFileAreReadToo) {
  SpillTo(0);
  const Digest empty = *store_.Put({});
  Put(1);
  EXPECT_EQ(Read(empty), "");
  memory_.SpillIdle();
  EXPECT_EQ(Read(empty), "");
}

TEST_F(MemoryBlobsSpillTest, ManyThreadsSeeTheirOwn) {
  SpillTo(2 * kSize);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      MemoryBlobStore own(&memory_);
      for (int i = 0; i < 50; ++i) {
        const Digest mine = *own.Put(ByteSpan(Text(4 * (i % 5) + t)));
        const auto blob = *own.Get(mine);
        ASSERT_EQ(blob->bytes()[0], 4 * (i % 5) + t);
        if (i % 3 == 0) memory_.SpillIdle();
        if (i % 2 == 0) {
          ASSERT_TRUE(own.Remove(mine).ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(memory_.status().ok()) << memory_.status();
}

}  // namespace
}  // namespace edgetune
