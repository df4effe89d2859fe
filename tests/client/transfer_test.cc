#include "client/transfer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using testing::ScratchDirectory;

// One blob each way; every attempt may be cut after a number of bytes.
class CutTransport final : public Transport {
 public:
  std::string served;                   // what Download gives
  std::string received;                 // what Upload has so far
  std::function<uint64_t()> allowance;  // bytes an attempt may move
  absl::Status refusal;                 // of every call, when not OK
  int attempts = 0;
  uint64_t moved = 0;

  absl::Status Start(Listener*) override { return absl::OkStatus(); }
  void Close() override {}
  void Send(const v1::ClientMessage&) override {}

  absl::Status Download(
      const Digest&, uint64_t offset,
      const std::function<absl::Status(std::span<const uint8_t>, uint64_t)>&
          sink) override {
    ++attempts;
    if (!refusal.ok()) return refusal;
    uint64_t left = allowance();
    while (offset < served.size()) {
      const uint64_t length =
          std::min<uint64_t>({1000, served.size() - offset, left});
      if (length == 0) return absl::UnavailableError("cut");
      moved += length;
      EDGETUNE_RETURN_IF_ERROR(sink(
          {reinterpret_cast<const uint8_t*>(served.data()) + offset, length},
          served.size()));
      offset += length;
      left -= length;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t offset,
      std::span<const uint8_t> bytes) override {
    ++attempts;
    if (offset != received.size()) {
      return absl::FailedPreconditionError("wrong offset");
    }
    const uint64_t length = std::min(allowance(), bytes.size() - offset);
    received.append(reinterpret_cast<const char*>(bytes.data()) + offset,
                    length);
    moved += length;
    if (received.size() < bytes.size()) return absl::UnavailableError("cut");
    return QueryUpload(key);
  }

  absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) override {
    if (!refusal.ok()) return refusal;
    v1::UploadStatus status;
    status.set_committed(received.size());
    status.set_complete(received.size() == key.size());
    return status;
  }
};

std::string RandomBytes(size_t size, uint64_t seed) {
  Random random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Below(256));
  return bytes;
}

class TransferTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = *BlobStore::Open(scratch_.path());
    transport_.allowance = [] { return std::numeric_limits<uint64_t>::max(); };
  }
  Transfer Make() {
    return Transfer(&transport_, store_.get(), [this](absl::Duration wait) {
      if (wait > absl::ZeroDuration()) ++pauses_;
      return !stop_;
    });
  }
  v1::UploadKey KeyFor(const std::string& bytes) {
    v1::UploadKey key;
    key.set_size(bytes.size());
    key.set_sha256(Sha256Bytes(bytes));
    return key;
  }
  static std::span<const uint8_t> Span(const std::string& bytes) {
    return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  }

  ScratchDirectory scratch_;
  std::unique_ptr<BlobStore> store_;
  CutTransport transport_;
  bool stop_ = false;
  int pauses_ = 0;
};

TEST_F(TransferTest, DownloadCutAnywhereArrivesWholeWithoutRepeats) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    transport_.served = RandomBytes(20000, seed);
    transport_.moved = 0;
    transport_.allowance = [&random] { return random.Below(9000); };
    const Digest digest = Sha256(transport_.served);
    const auto moved = Make().Fetch(digest, transport_.served.size());
    ASSERT_TRUE(moved.ok()) << "seed " << seed << ": " << moved.status();
    EXPECT_EQ(*moved, transport_.served.size());
    EXPECT_EQ(transport_.moved, transport_.served.size());
    const auto blob = *store_->Get(digest);
    EXPECT_TRUE(std::ranges::equal(blob->bytes(), Span(transport_.served)));
  }
}

TEST_F(TransferTest, BlobThatIsThereMovesNothing) {
  const std::string bytes = RandomBytes(5000, 1);
  const Digest digest = *store_->Put(Span(bytes));
  const auto moved = Make().Fetch(digest, bytes.size());
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(*moved, 0u);
  EXPECT_EQ(transport_.attempts, 0);
}

TEST_F(TransferTest, DownloadGoesOnAfterTheProgramWasKilled) {
  transport_.served = RandomBytes(20000, 2);
  const Digest digest = Sha256(transport_.served);
  int attempt = 0;
  transport_.allowance = [&] { return attempt++ == 0 ? 7000 : 0; };
  stop_ = false;
  Transfer first(&transport_, store_.get(), [&](absl::Duration wait) {
    return wait == absl::ZeroDuration();  // killed while it waits
  });
  EXPECT_TRUE(absl::IsCancelled(first.Fetch(digest, 20000).status()));
  store_ = *BlobStore::Open(scratch_.path());
  transport_.allowance = [] { return 100000; };
  const auto moved = Make().Fetch(digest, 20000);
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_EQ(*moved, 13000u);
}

TEST_F(TransferTest, OtherBytesThanTheDigestNamesAreRefused) {
  transport_.served = RandomBytes(3000, 3);
  const Digest wanted = Sha256(RandomBytes(3000, 4));
  const auto moved = Make().Fetch(wanted, 3000);
  EXPECT_TRUE(absl::IsDataLoss(moved.status())) << moved.status();
  EXPECT_EQ(KindOf(moved.status()), ErrorKind::kDigestMismatch);
  EXPECT_FALSE(store_->Has(wanted));
  EXPECT_EQ(transport_.attempts, 2);
}

TEST_F(TransferTest, DamagedLeftoverIsFetchedAgain) {
  transport_.served = RandomBytes(3000, 5);
  const Digest digest = Sha256(transport_.served);
  int attempt = 0;
  transport_.allowance = [&] { return attempt++ == 0 ? 1000 : 0; };
  std::string right = transport_.served;
  transport_.served[10] ^= 1;
  Transfer first(&transport_, store_.get(), [&](absl::Duration wait) {
    return wait == absl::ZeroDuration();
  });
  EXPECT_FALSE(first.Fetch(digest, 3000).ok());
  transport_.served = right;
  transport_.allowance = [] { return 100000; };
  const auto moved = Make().Fetch(digest, 3000);
  EXPECT_TRUE(moved.ok()) << moved.status();
  EXPECT_TRUE(store_->Has(digest));
}

TEST_F(TransferTest, AnnouncedSizeIsHeldAgainstTheServedOne) {
  transport_.served = RandomBytes(3000, 6);
  const auto moved = Make().Fetch(Sha256(transport_.served), 2999);
  EXPECT_TRUE(absl::IsDataLoss(moved.status()));
}

TEST_F(TransferTest, RefusalIsGivenUpAfterThreeTries) {
  transport_.refusal = absl::NotFoundError("no such blob");
  const auto moved = Make().Fetch(Sha256("x"), 1);
  EXPECT_TRUE(absl::IsNotFound(moved.status()));
  EXPECT_EQ(transport_.attempts, 3);
}

TEST_F(TransferTest, ForbiddenIsGivenUpAtOnce) {
  transport_.refusal = absl::PermissionDeniedError("denied");
  EXPECT_TRUE(absl::IsPermissionDenied(Make().Fetch(Sha256("x"), 1).status()));
  EXPECT_EQ(transport_.attempts, 1);
}

TEST_F(TransferTest, UploadCutAnywhereArrivesWholeWithoutRepeats) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    const std::string bytes = RandomBytes(20000, seed);
    transport_.received.clear();
    transport_.moved = 0;
    transport_.allowance = [&random] { return random.Below(9000); };
    const absl::Status status = Make().Send(KeyFor(bytes), Span(bytes));
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status;
    EXPECT_EQ(transport_.received, bytes);
    EXPECT_EQ(transport_.moved, bytes.size());
  }
}

TEST_F(TransferTest, CompleteUploadMovesNothing) {
  const std::string bytes = RandomBytes(100, 1);
  transport_.received = bytes;
  EXPECT_TRUE(Make().Send(KeyFor(bytes), Span(bytes)).ok());
  EXPECT_EQ(transport_.attempts, 0);
}

TEST_F(TransferTest, LateUploadEndsWithTheCoordinatorsWord) {
  transport_.refusal = absl::FailedPreconditionError("late");
  const std::string bytes = "bytes";
  EXPECT_TRUE(
      absl::IsFailedPrecondition(Make().Send(KeyFor(bytes), Span(bytes))));
  EXPECT_EQ(pauses_, 2);
}

TEST_F(TransferTest, StopEndsAnUploadThatGetsNowhere) {
  transport_.allowance = [] { return 0; };
  stop_ = true;
  const std::string bytes = "bytes";
  EXPECT_TRUE(absl::IsCancelled(Make().Send(KeyFor(bytes), Span(bytes))));
}

}  // namespace
}  // namespace edgetune
