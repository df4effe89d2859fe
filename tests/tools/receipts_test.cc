// A run's receipts as a chain: each right by itself, some in the wrong place.

#include "tools/federation/receipts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "tests/privacy_secagg/receipt_maker.h"

namespace edgetune {
namespace {

using secagg::ReceiptMaker;
using ::testing::HasSubstr;

std::string Adapter(uint32_t version) {
  return Sha256Bytes("adapter " + std::to_string(version));
}

// Two training rounds, the cards of three adapters, and the receipts as the
// coordinator hands them out.
class ReceiptsTest : public ::testing::Test {
 protected:
  ReceiptsTest() {
    status_.set_run_id(Plan());
    for (uint32_t version = 0; version < 3; ++version) {
      AddCard(version, maker_.fleet.round_key);
    }
  }

  std::string Plan() const {
    v1::RoundReceipt receipt;
    receipt.ParseFromString(maker_.Make().payload());
    return receipt.plan_digest();
  }

  void AddCard(uint32_t version, const SigningKey& key) {
    v1::ModelCard card;
    card.mutable_header()->set_version(1);
    card.mutable_header()->set_issued_ms(1'700'000'000'000);
    card.mutable_header()->set_expires_ms(2'000'000'000'000);
    card.set_plan_digest(Plan());
    card.set_version(version);
    card.set_adapter_digest(Adapter(version));
    if (version > 0) {
      card.set_prev_card_digest(Sha256Bytes("card before"));
      card.set_updates(4);
      card.set_weight_sum(4);
    }
    *status_.add_cards() =
        SignDocument(DocumentUse::kCard, card.SerializeAsString(), key).value();
  }

  std::string Receipt(uint32_t round, const std::string& before) {
    maker_.manifest = [round](v1::RoundManifest& manifest) {
      manifest.set_round(round);
      manifest.set_adapter_digest(Adapter(round));
    };
    maker_.receipt = [&, round](v1::RoundReceipt& receipt) {
      receipt.set_result_digest(Adapter(round + 1));
      receipt.set_prev_receipt_digest(before);
    };
    return maker_.Make().SerializeAsString();
  }

  std::vector<std::string> TwoRounds() {
    const std::string first = Receipt(0, "");
    return {first, Receipt(1, Sha256Bytes(first))};
  }

  void ExpectRefused(std::vector<std::string> blobs, const std::string& what) {
    const auto checked =
        CheckReceipts(std::move(blobs), status_, maker_.keys());
    EXPECT_EQ(KindOf(checked.status()), ErrorKind::kFailed);
    EXPECT_THAT(std::string(checked.status().message()), HasSubstr(what));
  }

  ReceiptMaker maker_;
  v1::RunStatus status_;
};

TEST_F(ReceiptsTest, AChainOfReceiptsIsAccepted) {
  const auto checked = CheckReceipts(TwoRounds(), status_, maker_.keys());
  ASSERT_TRUE(checked.ok()) << checked.status();
  ASSERT_EQ(checked->size(), 2u);
  EXPECT_EQ(ReceiptFileName(checked->at(0).checked), "round-1.pb");
  EXPECT_EQ(ReceiptFileName(checked->at(1).checked), "round-2.pb");
}

TEST_F(ReceiptsTest, ARunInTheClearHasNone) {
  EXPECT_EQ(CheckReceipts({}, status_, maker_.keys())->size(), 0u);
}

TEST_F(ReceiptsTest, ReceiptsOfAnotherRunAreRefused) {
  status_.set_run_id(Sha256Bytes("another"));
  ExpectRefused(TwoRounds(), "belongs to another run");
}

TEST_F(ReceiptsTest, EveryRoundStandsInItsPlace) {
  const auto blobs = TwoRounds();
  ExpectRefused({blobs[1]}, "stands where that of round 1 should");
  ExpectRefused({blobs[0], blobs[0]}, "stands where that of round 2 should");
}

TEST_F(ReceiptsTest, EachNamesTheOneBefore) {
  ExpectRefused({Receipt(0, ""), Receipt(1, Sha256Bytes("other"))},
                "does not name the receipt before it");
  ExpectRefused({Receipt(0, Sha256Bytes("other"))},
                "does not name the receipt before it");
}

TEST_F(ReceiptsTest, AdaptersAreThoseOfTheCards) {
  v1::RunStatus other = status_;
  std::swap(*status_.mutable_cards(0), *status_.mutable_cards(1));
  EXPECT_TRUE(CheckReceipts(TwoRounds(), status_, maker_.keys()).ok());
  status_.mutable_cards()->RemoveLast();
  ExpectRefused(TwoRounds(), "of round 2 (attempt 3) names other adapters");
  status_ = other;
  status_.mutable_cards()->DeleteSubrange(0, 1);
  ExpectRefused(TwoRounds(), "of round 1 (attempt 3) names other adapters");
}

TEST_F(ReceiptsTest, CardsHaveToBeTheCoordinators) {
  AddCard(2, maker_.fleet.foreign_key);
  const auto checked = CheckReceipts(TwoRounds(), status_, maker_.keys());
  EXPECT_EQ(KindOf(checked.status()), ErrorKind::kIdentity);
}

TEST_F(ReceiptsTest, NoPartOfAReceiptIsOne) {
  const std::string whole = Receipt(0, "");
  for (size_t size = 0; size < whole.size(); size += 7) {
    const auto held =
        ReadReceipt(whole.substr(0, size), maker_.keys(), maker_.Now());
    const ErrorKind kind = KindOf(held.status());
    EXPECT_TRUE(!held.ok() &&
                (kind == ErrorKind::kUsage || kind == ErrorKind::kIdentity))
        << size << held.status();
  }
  EXPECT_TRUE(ReadReceipt(whole, maker_.keys(), maker_.Now()).ok());
}

TEST_F(ReceiptsTest, TheTextSaysWhatIsNotShown) {
  const auto checked =
      CheckReceipts(TwoRounds(), status_, maker_.keys()).value();
  const std::string text = ReceiptText(checked[0].checked, std::nullopt);
  EXPECT_THAT(text, HasSubstr("Receipt of round 1 (attempt 3)"));
  EXPECT_THAT(text, HasSubstr("group 1: 4 of 5 devices are in the sum; 4 of "
                              "them signed that very set (4 had to)"));
  EXPECT_THAT(text, HasSubstr("group 2: 4 of 4 devices are in the sum; 3 of "
                              "them signed that very set (3 had to)"));
  EXPECT_THAT(text, HasSubstr("Not shown: that the published adapter"));
  const nlohmann::json json = ReceiptJson(checked[0].checked, std::nullopt);
  EXPECT_EQ(json["round"], 1);
  EXPECT_EQ(json["groups"][1]["signers"], 3);
  EXPECT_EQ(json["adapter_after"], ToHex(Adapter(1)));
  EXPECT_TRUE(json["device"].is_null());
}

}  // namespace
}  // namespace edgetune
