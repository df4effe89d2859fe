// What the tool asks of a coordinator that may lie, played by a fake.

#include "tools/operator_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"
#include "tests/testing/scratch_directory.h"
#include "tools/federation/receipts.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

class FakeOperator final : public OperatorClient {
 public:
  absl::Status PutPart(
      const Digest&, std::span<const uint8_t>,
      const std::function<void(uint64_t, uint64_t)>&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::RunStatus> Submit(const v1::Envelope&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::vector<v1::RunStatus>> List() override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::RunStatus> Show(const std::string&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::RunStatus> Stop(const std::string&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<v1::RunStatus> Override(
      const v1::Envelope& envelope) override {
    override_ = envelope;
    return v1::RunStatus();
  }
  absl::StatusOr<v1::RunStatus> Watch(
      const std::string&,
      const std::function<bool(const v1::RunStatus&)>&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<std::string> Fetch(const Digest& digest) override {
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return absl::NotFoundError("no such blob");
    return found->second;
  }

  std::optional<v1::Envelope> override_;
  std::map<Digest, std::string> blobs_;
};

class OperatorCallsTest : public ::testing::Test {
 protected:
  OperatorCallsTest() {
    session_.kit.trusted.round = {round_.public_key()};
    session_.kit.trusted.release = {release_.public_key()};
    session_.client = std::make_unique<FakeOperator>();
    status_.set_run_id(Sha256Bytes("the run"));
    status_.mutable_plan()->mutable_secagg()->set_enabled(true);
    AddCard(0, round_);
    AddCard(1, round_);
    key_path_ = scratch_.File("release.key.pem");
    EXPECT_TRUE(
        WriteFileAtomically(key_path_, release_.ToPem().value(), 0600).ok());
  }

  FakeOperator& fake() { return static_cast<FakeOperator&>(*session_.client); }

  void AddCard(uint32_t version, const SigningKey& key) {
    v1::ModelCard card;
    card.mutable_header()->set_version(1);
    card.mutable_header()->set_issued_ms(1'700'000'000'000);
    card.mutable_header()->set_expires_ms(2'000'000'000'000);
    card.set_plan_digest(status_.run_id());
    card.set_version(version);
    card.set_adapter_digest(Sha256Bytes(std::to_string(version)));
    if (version > 0) {
      card.set_prev_card_digest(Sha256Bytes("before"));
      card.set_updates(4);
      card.set_weight_sum(4);
    }
    *status_.add_cards() =
        SignDocument(DocumentUse::kCard, card.SerializeAsString(), key).value();
  }

  const testing::ScratchDirectory scratch_;
  const SigningKey release_ = SigningKey::Generate().value();
  const SigningKey round_ = SigningKey::Generate().value();
  OperatorSession session_;
  v1::RunStatus status_;
  std::string key_path_;
};

TEST_F(OperatorCallsTest, AnOverrideIsForTheAdapterOfTheLastCard) {
  const absl::Time before = absl::Now();
  ASSERT_TRUE(OverrideRun(session_, status_, {key_path_, 2}).ok());
  ASSERT_TRUE(fake().override_.has_value());
  EXPECT_TRUE(VerifyDocument(DocumentUse::kOverride, *fake().override_,
                             session_.kit.trusted)
                  .ok());
  const auto document = ParseOverride(fake().override_->payload());
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(document->plan_digest(), status_.run_id());
  EXPECT_EQ(document->adapter_digest(), Sha256Bytes("1"));
  EXPECT_EQ(document->extra(), 2u);
  EXPECT_EQ(document->header().expires_ms() - document->header().issued_ms(),
            7 * 24 * 3'600'000);
  EXPECT_GE(document->header().issued_ms(), absl::ToUnixMillis(before));
}

TEST_F(OperatorCallsTest, NothingIsOverriddenInTheClear) {
  status_.mutable_plan()->mutable_secagg()->set_enabled(false);
  const auto result = OverrideRun(session_, status_, {key_path_, 1});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kUsage);
  EXPECT_FALSE(fake().override_.has_value());
}

TEST_F(OperatorCallsTest, NothingIsSignedForACardOfSomebodyElse) {
  AddCard(2, release_);
  const auto result = OverrideRun(session_, status_, {key_path_, 1});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kIdentity);
  EXPECT_FALSE(fake().override_.has_value());
}

TEST_F(OperatorCallsTest, NothingIsSignedForACardOfAnotherRun) {
  status_.set_run_id(Sha256Bytes("another run"));
  const auto result = OverrideRun(session_, status_, {key_path_, 1});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kIdentity);
  EXPECT_FALSE(fake().override_.has_value());
}

TEST_F(OperatorCallsTest, AWrongReleaseKeyIsTold) {
  for (const std::string& path :
       {scratch_.File("none.pem"), std::string("/dev/null")}) {
    const auto result = OverrideRun(session_, status_, {path, 1});
    EXPECT_EQ(KindOf(result.status()), ErrorKind::kIdentity) << path;
    EXPECT_FALSE(HintOf(result.status()).empty());
  }
}

TEST_F(OperatorCallsTest, ReceiptsThatCannotBeHadAreAnError) {
  EXPECT_EQ(DownloadReceipts(session_, status_)->size(), 0u);
  status_.add_receipts("short");
  EXPECT_TRUE(
      absl::IsInvalidArgument(DownloadReceipts(session_, status_).status()));
  status_.set_receipts(0, Sha256Bytes("no receipt"));
  EXPECT_TRUE(absl::IsNotFound(DownloadReceipts(session_, status_).status()));
  fake().blobs_[Sha256("no receipt")] = "no receipt";
  EXPECT_THAT(
      std::string(DownloadReceipts(session_, status_).status().message()),
      HasSubstr("not a receipt"));
}

}  // namespace
}  // namespace edgetune
