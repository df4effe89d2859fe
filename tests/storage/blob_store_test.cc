#include "storage/blob_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "base/status.h"
#include "base/units.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kMiB = 1 << 20;

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string Pattern(size_t size, int seed = 1) {
  std::string text(size, '\0');
  uint32_t state = static_cast<uint32_t>(seed);
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

class BlobStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen() {
    auto store = BlobStore::Open(root_ / "store");
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string Content(const Digest& digest) const {
    const auto file = store_->Get(digest);
    EXPECT_TRUE(file.ok()) << file.status();
    if (!file.ok()) return "";
    return std::string((*file)->bytes().begin(), (*file)->bytes().end());
  }
  // Files below the store that are no blobs.
  int Debris() const {
    int count = 0;
    for (const auto& entry :
         fs::recursive_directory_iterator(root_ / "store")) {
      if (entry.is_regular_file() &&
          entry.path().parent_path().filename() != "blobs") {
        ++count;
      }
    }
    return count;
  }
  absl::Status Append(const std::string& name, uint64_t offset,
                      std::string_view text, uint64_t announced) {
    return store_->AppendPartial(name, offset, Bytes(text), announced);
  }

  const testing::ScratchDirectory scratch_;
  const fs::path root_ = scratch_.path();
  std::unique_ptr<BlobStore> store_;
};

TEST_F(BlobStoreTest, ABlobComesBackByItsDigest) {
  const std::string text = Pattern(3 * kMiB);
  const auto digest = store_->Put(Bytes(text));
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, Sha256(text));
  EXPECT_TRUE(store_->Has(*digest));
  EXPECT_EQ(*store_->Size(*digest), text.size());
  EXPECT_EQ(Content(*digest), text);
  EXPECT_EQ(*HashFile(*store_->PathOf(*digest)), *digest);
  EXPECT_EQ(Debris(), 0);
}

TEST_F(BlobStoreTest, TheLayoutIsTheHexOfTheDigest) {
  // SHA-256 of "abc" (FIPS 180-4 example).
  ASSERT_TRUE(store_->Put(Bytes("abc")).ok());
  const fs::path path =
      root_ / "store" / "blobs" /
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0400u);
}

TEST_F(BlobStoreTest, PuttingTwiceIsPuttingOnce) {
  const auto first = store_->Put(Bytes("same"));
  const auto second = store_->Put(Bytes("same"));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_THAT(*store_->List(), ElementsAre(*first));
  EXPECT_EQ(Debris(), 0);
}

TEST_F(BlobStoreTest, TheEmptyBlobIsABlob) {
  const auto digest = store_->Put({});
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*store_->Size(*digest), 0u);
  EXPECT_EQ(Content(*digest), "");
}

TEST_F(BlobStoreTest, AFileIsCopiedInAndMayChangeAfterwards) {
  const std::string path = root_ / "source";
  const std::string text = Pattern(2 * kMiB + 17);
  std::ofstream(path, std::ios::binary) << text;
  const auto digest = store_->PutFile(path);
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, Sha256(text));
  std::ofstream(path, std::ios::binary) << "changed";
  EXPECT_EQ(Content(*digest), text);
  EXPECT_EQ(store_->PutFile(root_ / "nowhere").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Debris(), 0);
}

TEST_F(BlobStoreTest, WhatIsNotThereIsNotFoundAndNamed) {
  const Digest digest = Sha256(std::string_view("never put"));
  EXPECT_FALSE(store_->Has(digest));
  EXPECT_EQ(store_->Size(digest).status().code(), absl::StatusCode::kNotFound);
  const auto file = store_->Get(digest);
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr(ToHex(digest)));
  EXPECT_EQ(store_->Remove(digest).code(), absl::StatusCode::kNotFound);
}

TEST_F(BlobStoreTest, RemovedBlobsAreGoneButStayReadableWhereMapped) {
  const auto digest = store_->Put(Bytes("going"));
  ASSERT_TRUE(digest.ok());
  const auto mapped = store_->Get(*digest);
  ASSERT_TRUE(mapped.ok());
  ASSERT_TRUE(store_->Remove(*digest).ok());
  EXPECT_FALSE(store_->Has(*digest));
  EXPECT_THAT(*store_->List(), IsEmpty());
  EXPECT_EQ((*mapped)->bytes()[0], 'g');
}

TEST_F(BlobStoreTest, ListNamesEveryBlobAndNothingElse) {
  const auto first = store_->Put(Bytes("1"));
  const auto second = store_->Put(Bytes("2"));
  ASSERT_TRUE(first.ok() && second.ok());
  std::ofstream(root_ / "store/blobs/README") << "not a blob";
  std::ofstream(root_ / "store/blobs/abcd") << "not a blob";
  EXPECT_THAT(*store_->List(),
              ::testing::UnorderedElementsAre(*first, *second));
}

TEST_F(BlobStoreTest, DebrisOfACrashGoesButNotThatOfALiveWriter) {
  const std::string dead = root_ / "store/temporary/aaaaaa";
  const std::string live = root_ / "store/temporary/bbbbbb";
  std::ofstream(dead) << "half";
  std::ofstream(live) << "half";
  const int fd = open(live.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(flock(fd, LOCK_EX), 0);
  ASSERT_TRUE(Append("upload", 0, "12", 4).ok());
  Reopen();
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(live));
  EXPECT_EQ(*store_->PartialSize("upload"), 2u);
  close(fd);
}

TEST_F(BlobStoreTest, AnArrivalMayBeCutAnywhere) {
  const std::string text = Pattern(9 * kMiB + 5);
  uint64_t at = 0;
  for (const uint64_t end :
       {uint64_t{1}, uint64_t{4 * kMiB - 1}, uint64_t{4 * kMiB},
        uint64_t{4 * kMiB + 1}, uint64_t{9 * kMiB}, text.size()}) {
    ASSERT_TRUE(Append("u-1", at, std::string_view(text).substr(at, end - at),
                       text.size())
                    .ok());
    Reopen();
    at = *store_->PartialSize("u-1");
    EXPECT_EQ(at, end);
  }
  const Digest digest = Sha256(text);
  ASSERT_TRUE(store_->FinishPartial("u-1", digest, text.size()).ok());
  EXPECT_EQ(Content(digest), text);
  EXPECT_EQ(*store_->PartialSize("u-1"), 0u);
  EXPECT_EQ(Debris(), 0);
}

TEST_F(BlobStoreTest, ChunksMustFollowOneAnother) {
  EXPECT_EQ(Append("u", 1, "b", 4).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Append("u", 0, "ab", 4).ok());
  const absl::Status again = Append("u", 0, "ab", 4);
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(again.message()), HasSubstr("got 0, wanted 2"));
  EXPECT_EQ(Append("u", 3, "d", 4).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(*store_->PartialSize("u"), 2u);
}

TEST_F(BlobStoreTest, MoreThanAnnouncedIsOutOfRange) {
  EXPECT_EQ(Append("u", 0, "abcde", 4).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Debris(), 0);
  ASSERT_TRUE(Append("u", 0, "abc", 4).ok());
  EXPECT_EQ(Append("u", 3, "de", 4).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Append("u", 3, "", 2).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(*store_->PartialSize("u"), 3u);
}

TEST_F(BlobStoreTest, AnIncompleteArrivalIsNotFinishedButKept) {
  ASSERT_TRUE(Append("u", 0, "abc", 4).ok());
  EXPECT_EQ(
      store_->FinishPartial("u", Sha256(std::string_view("abcd")), 4).code(),
      absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Append("u", 3, "d", 4).ok());
  EXPECT_TRUE(
      store_->FinishPartial("u", Sha256(std::string_view("abcd")), 4).ok());
}

TEST_F(BlobStoreTest, ADamagedArrivalIsDroppedAndTold) {
  ASSERT_TRUE(Append("u", 0, "abcX", 4).ok());
  const absl::Status status =
      store_->FinishPartial("u", Sha256(std::string_view("abcd")), 4);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(KindOf(status), ErrorKind::kDigestMismatch);
  EXPECT_EQ(*store_->PartialSize("u"), 0u);
  EXPECT_THAT(*store_->List(), IsEmpty());
  ASSERT_TRUE(Append("u", 0, "abcd", 4).ok());
  EXPECT_TRUE(
      store_->FinishPartial("u", Sha256(std::string_view("abcd")), 4).ok());
}

TEST_F(BlobStoreTest, FinishingAgainSaysYesWhileTheBlobIsThere) {
  const Digest digest = Sha256(std::string_view("abcd"));
  EXPECT_EQ(store_->FinishPartial("u", digest, 4).code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(Append("u", 0, "abcd", 4).ok());
  ASSERT_TRUE(store_->FinishPartial("u", digest, 4).ok());
  EXPECT_TRUE(store_->FinishPartial("u", digest, 4).ok());
  EXPECT_EQ(store_->FinishPartial("u", digest, 5).code(),
            absl::StatusCode::kNotFound);
}

TEST_F(BlobStoreTest, DroppingForgetsAnArrival) {
  ASSERT_TRUE(Append("u", 0, "ab", 4).ok());
  ASSERT_TRUE(store_->DropPartial("u").ok());
  EXPECT_TRUE(store_->DropPartial("u").ok());
  EXPECT_EQ(*store_->PartialSize("u"), 0u);
  EXPECT_TRUE(store_->ListPartials()->empty());
  EXPECT_EQ(Debris(), 0);
}

TEST_F(BlobStoreTest, ListsTheArrivalsThatAreNotFinished) {
  const Digest digest = Sha256("abcd");
  for (const char* name : {"v", "u", "w"}) {
    ASSERT_TRUE(Append(name, 0, "ab", 4).ok());
  }
  ASSERT_TRUE(Append("v", 2, "cd", 4).ok());
  ASSERT_TRUE(store_->FinishPartial("v", digest, 4).ok());
  EXPECT_EQ(*store_->ListPartials(), (std::vector<std::string>{"u", "w"}));
}

TEST_F(BlobStoreTest, NamesCannotLeaveTheDirectory) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../x"),
        std::string("a/b"), std::string("a\0b", 3), std::string("a b"),
        std::string(129, 'a')}) {
    EXPECT_EQ(Append(name, 0, "x", 1).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->PartialSize(name).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->DropPartial(name).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(BlobStoreTest, ThreadsPutTheSameAndOtherBlobsAtOnce) {
  const std::string shared = Pattern(100000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 5; ++n) {
        EXPECT_TRUE(store_->Put(Bytes(shared)).ok());
        EXPECT_TRUE(store_->Put(Bytes(Pattern(1000, 10 * i + n))).ok());
        EXPECT_EQ(Content(Sha256(shared)), shared);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store_->List()->size(), 21u);
  EXPECT_EQ(Debris(), 0);
}

TEST_F(BlobStoreTest, OfThreadsThatAppendTheSameChunkOneWins) {
  const std::string text = Pattern(50 * 1000);
  std::atomic<int> written = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (size_t at = 0; at < text.size(); at += 1000) {
        const auto chunk = std::string_view(text).substr(at, 1000);
        if (Append("u", at, chunk, text.size()).ok()) ++written;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(written, 50);
  EXPECT_TRUE(store_->FinishPartial("u", Sha256(text), text.size()).ok());
}

TEST_F(BlobStoreTest, AFullDiskLeavesNoHalfBlobAndTheArrivalAsItWas) {
  ASSERT_TRUE(Append("u", 0, "abcd", 3 * kMiB).ok());
  const pid_t child = fork();
  if (child == 0) {
    // A limit on file sizes stands in for the disk's end (EFBIG for ENOSPC).
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {kMiB, kMiB};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(1);
    const std::string text = Pattern(2 * kMiB);
    const absl::Status put = store_->Put(Bytes(text)).status();
    if (!absl::IsResourceExhausted(put)) _exit(2);
    if (KindOf(put) != ErrorKind::kDiskFull) _exit(3);
    if (!absl::IsResourceExhausted(Append("u", 4, text, 3 * kMiB))) _exit(4);
    _exit(*store_->PartialSize("u") == 4 ? 0 : 5);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(Debris(), 1);  // the partial
  EXPECT_THAT(*store_->List(), IsEmpty());
}

TEST_F(BlobStoreTest, AKilledProcessLeavesAnArrivalThatGoesOn) {
  const std::string text = Pattern(5 * kMiB);
  const pid_t child = fork();
  if (child == 0) {
    (void)Append("u", 0, std::string_view(text).substr(0, 4 * kMiB + 9),
                 text.size());
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  Reopen();
  const uint64_t at = *store_->PartialSize("u");
  EXPECT_EQ(at, 4 * kMiB + 9);
  ASSERT_TRUE(
      Append("u", at, std::string_view(text).substr(at), text.size()).ok());
  EXPECT_TRUE(store_->FinishPartial("u", Sha256(text), text.size()).ok());
}

TEST(DigestTest, HasThirtyTwoBytes) {
  const Digest digest = Sha256(std::string_view("x"));
  EXPECT_EQ(*DigestFromBytes(DigestBytes(digest)), digest);
  EXPECT_EQ(DigestFromBytes("short").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DigestFromBytes(std::string(33, 'x')).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace edgetune
