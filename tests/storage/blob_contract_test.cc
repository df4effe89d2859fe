// What both kinds of blob store promise.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>

#include "privacy/crypto/secret.h"
#include "storage/memory_blobs.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

enum class Kind { kFiles, kMemory };

class BlobContractTest : public ::testing::TestWithParam<Kind> {
 protected:
  BlobContractTest() {
    if (GetParam() == Kind::kMemory) {
      store_ = std::make_unique<MemoryBlobStore>(&memory_);
    } else {
      store_ = *BlobStore::Open(scratch_.File("store"));
    }
  }
  std::string Content(const Digest& digest) {
    const auto blob = store_->Get(digest);
    if (!blob.ok()) return std::string(blob.status().message());
    return {(*blob)->bytes().begin(), (*blob)->bytes().end()};
  }
  absl::Status Append(uint64_t offset, std::string_view bytes, uint64_t size) {
    return store_->AppendPartial("u", offset, ByteSpan(bytes), size);
  }

  const testing::ScratchDirectory scratch_;
  MemoryBlobs memory_;
  std::unique_ptr<BlobStore> store_;
};
INSTANTIATE_TEST_SUITE_P(Stores, BlobContractTest,
                         ::testing::Values(Kind::kFiles, Kind::kMemory));

TEST_P(BlobContractTest, BlobsComeBackByTheirDigestUntilRemoved) {
  const Digest digest = *store_->Put(ByteSpan("abc"));
  EXPECT_EQ(digest, Sha256(std::string_view("abc")));
  EXPECT_EQ(*store_->Put(ByteSpan("abc")), digest);
  EXPECT_EQ(Content(digest), "abc");
  EXPECT_EQ(*store_->Size(digest), 3u);
  EXPECT_THAT(*store_->List(), ElementsAre(digest));
  const auto held = store_->Get(digest);
  EXPECT_TRUE(store_->Remove(digest).ok());
  EXPECT_FALSE(store_->Has(digest));
  EXPECT_TRUE(absl::IsNotFound(store_->Get(digest).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Remove(digest)));
  EXPECT_EQ((*held)->bytes()[0], 'a');
}

TEST_P(BlobContractTest, FilesAreBlobsToo) {
  std::ofstream(scratch_.File("source")) << "from a file";
  const auto digest = store_->PutFile(scratch_.File("source"));
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(Content(*digest), "from a file");
  EXPECT_TRUE(
      absl::IsNotFound(store_->PutFile(scratch_.File("none")).status()));
}

TEST_P(BlobContractTest, ArrivalsGoOnWhereTheyStandAndNowhereElse) {
  EXPECT_TRUE(absl::IsFailedPrecondition(Append(1, "b", 4)));
  EXPECT_TRUE(absl::IsOutOfRange(Append(0, "abcde", 4)));
  EXPECT_THAT(*store_->ListPartials(), IsEmpty());
  ASSERT_TRUE(Append(0, "ab", 4).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Append(0, "ab", 4)));
  EXPECT_TRUE(absl::IsOutOfRange(Append(2, "cde", 4)));
  EXPECT_EQ(*store_->PartialSize("u"), 2u);
  const Digest digest = Sha256(std::string_view("abcd"));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(store_->FinishPartial("u", digest, 4)));
  ASSERT_TRUE(Append(2, "cd", 4).ok());
  EXPECT_THAT(*store_->ListPartials(), ElementsAre("u"));
  ASSERT_TRUE(store_->FinishPartial("u", digest, 4).ok());
  EXPECT_EQ(Content(digest), "abcd");
  EXPECT_EQ(*store_->PartialSize("u"), 0u);
}

TEST_P(BlobContractTest, FinishingAgainSaysYesWhileTheBlobIsThere) {
  const Digest digest = Sha256(std::string_view("abcd"));
  EXPECT_TRUE(absl::IsNotFound(store_->FinishPartial("u", digest, 4)));
  ASSERT_TRUE(Append(0, "abcd", 4).ok());
  ASSERT_TRUE(store_->FinishPartial("u", digest, 4).ok());
  EXPECT_TRUE(store_->FinishPartial("u", digest, 4).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->FinishPartial("u", digest, 5)));
}

TEST_P(BlobContractTest, OtherBytesThanAnnouncedAreDroppedAndTold) {
  const Digest digest = Sha256(std::string_view("abcd"));
  ASSERT_TRUE(Append(0, "abcX", 4).ok());
  EXPECT_TRUE(absl::IsDataLoss(store_->FinishPartial("u", digest, 4)));
  EXPECT_EQ(*store_->PartialSize("u"), 0u);
  EXPECT_FALSE(store_->Has(digest));
  ASSERT_TRUE(Append(0, "ab", 4).ok());
  EXPECT_TRUE(store_->DropPartial("u").ok());
  EXPECT_TRUE(store_->DropPartial("u").ok());
  EXPECT_THAT(*store_->ListPartials(), IsEmpty());
}

TEST(MemoryBlobsTest, StoresShareEqualBytesAndLoseThemWithTheLast) {
  MemoryBlobs memory;
  MemoryBlobStore first(&memory), second(&memory);
  const std::string text(1000, 'x');
  const Digest digest = *first.Put(ByteSpan(text));
  EXPECT_FALSE(second.Has(digest));
  EXPECT_TRUE(second.Adopt(digest));
  EXPECT_EQ(*second.Put(ByteSpan(text)), digest);
  EXPECT_EQ(memory.size(), 1000u);
  ASSERT_TRUE(first.Remove(digest).ok());
  EXPECT_EQ(memory.size(), 1000u);
  EXPECT_TRUE(second.Has(digest));
  ASSERT_TRUE(second.Remove(digest).ok());
  EXPECT_EQ(memory.size(), 0u);
  EXPECT_FALSE(first.Adopt(digest));
}

// Bytes that another store has are compared with it, and must still be equal.
TEST(MemoryBlobsTest, AnArrivalIsCheckedAgainstWhatAnotherStoreHas) {
  MemoryBlobs memory;
  MemoryBlobStore sender(&memory), receiver(&memory);
  const Digest digest = *sender.Put(ByteSpan("abcd"));
  ASSERT_TRUE(receiver.AppendPartial("u", 0, ByteSpan("abcX"), 4).ok());
  EXPECT_TRUE(absl::IsDataLoss(receiver.FinishPartial("u", digest, 4)));
  ASSERT_TRUE(receiver.AppendPartial("u", 0, ByteSpan("abcd"), 4).ok());
  EXPECT_TRUE(receiver.FinishPartial("u", digest, 4).ok());
  EXPECT_EQ(memory.size(), 4u);
}

TEST(MemoryBlobsTest, WhatIsInMemoryHasNoPath) {
  MemoryBlobs memory;
  MemoryBlobStore store(&memory);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      store.PathOf(*store.Put(ByteSpan("abc"))).status()));
}

}  // namespace
}  // namespace edgetune
