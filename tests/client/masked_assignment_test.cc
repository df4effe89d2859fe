#include "client/masked_assignment.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/time/clock.h"
#include "base/status.h"
#include "storage/blob_store.h"
#include "tests/client/fixture.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::MakeTestKeys;
using testing::TestKeys;

// A masked assignment of round 1 as an honest coordinator makes it, in parts
// that a test may change before it is signed and put together.
class MaskedAssignmentTest : public ::testing::Test {
 protected:
  MaskedAssignmentTest() {
    plan_envelope_ = testing::SignedPlan(plan_, keys_);
    FillDates(head_.mutable_header());
    head_.set_version(3);
    head_.set_leaf_count(8);
    head_.set_root(std::string(32, 'r'));
    for (uint32_t version = 0; version < 2; ++version) AddCard(version);
    manifest_ = ValidManifest();
    FillDates(manifest_.mutable_header());
    manifest_.set_plan_digest(Sha256Bytes(plan_envelope_.payload()));
    manifest_.set_round(1);
    manifest_.set_adapter_digest(cards_[1].adapter_digest());
    v1::MaskingTerms& terms = *manifest_.mutable_masking();
    terms.set_protocol_version(1);
    terms.set_roster_version(3);
    terms.set_roster_root(head_.root());
    terms.set_roster_leaves(8);
  }

  static void FillDates(v1::DocumentHeader* header) {
    header->set_version(1);
    header->set_issued_ms(absl::ToUnixMillis(absl::Now()));
    header->set_expires_ms(absl::ToUnixMillis(absl::Now() + absl::Hours(1)));
  }
  void AddCard(uint32_t version) {
    v1::ModelCard card = ValidCard();
    FillDates(card.mutable_header());
    card.set_plan_digest(Sha256Bytes(plan_envelope_.payload()));
    card.set_version(version);
    card.set_adapter_digest(std::string(32, static_cast<char>('A' + version)));
    if (version == 0) {
      card.clear_prev_card_digest();
      card.set_updates(0);
      card.set_weight_sum(0);
    }
    cards_.push_back(card);
  }
  v1::Envelope Sign(DocumentUse use, const std::string& payload,
                    const SigningKey& key) {
    auto signed_document = SignDocument(use, payload, key);
    EDGETUNE_CHECK(signed_document.ok());
    return *std::move(signed_document);
  }
  v1::Assignment Put() {
    v1::Assignment assignment;
    *assignment.mutable_plan() = plan_envelope_;
    std::string before;
    for (v1::ModelCard& card : cards_) {
      if (card.version() > 0 && link_) card.set_prev_card_digest(before);
      *assignment.add_cards() =
          Sign(DocumentUse::kCard, card.SerializeAsString(), keys_.round);
      before = Sha256Bytes(assignment.cards().rbegin()->payload());
    }
    if (!before.empty()) manifest_.set_prev_card_digest(before);
    *assignment.mutable_manifest() = Sign(
        DocumentUse::kManifest, manifest_.SerializeAsString(), keys_.round);
    *assignment.mutable_roster() =
        Sign(DocumentUse::kRoster, head_.SerializeAsString(),
             *(roster_key_ == nullptr ? &keys_.authority : roster_key_));
    for (const v1::SpentOverride& document : overrides_) {
      *assignment.add_overrides() = Sign(
          DocumentUse::kOverride, document.SerializeAsString(), keys_.release);
    }
    return assignment;
  }
  absl::StatusOr<MaskedTerms> Verify(uint32_t n_min = 0) {
    return VerifyMaskedTerms(Put(), plan_, keys_.trusted, n_min, absl::Now());
  }
  v1::AbortCode Code(uint32_t n_min = 0) {
    return secagg::AbortCodeOf(Verify(n_min).status());
  }
  v1::SpentOverride Override(uint32_t extra) {
    v1::SpentOverride document;
    FillDates(document.mutable_header());
    document.set_plan_digest(manifest_.plan_digest());
    document.set_adapter_digest(manifest_.adapter_digest());
    document.set_extra(extra);
    return document;
  }

  const TestKeys keys_ = MakeTestKeys();
  v1::TaskPlan plan_ = MaskedPlan();
  v1::Envelope plan_envelope_;
  v1::RosterHead head_;
  const SigningKey* roster_key_ = nullptr;
  std::vector<v1::ModelCard> cards_;
  bool link_ = true;
  v1::RoundManifest manifest_;
  std::vector<v1::SpentOverride> overrides_;
};

TEST_F(MaskedAssignmentTest, AnHonestOneIsUnderstood) {
  const auto terms = Verify();
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_EQ(terms->shape.coordinates, 56u);
  EXPECT_EQ(terms->roster.leaves, 8u);
  EXPECT_EQ(terms->history.roster_version, 3u);
  EXPECT_EQ(terms->history.cards.size(), 2u);
  EXPECT_EQ(terms->history.allowed, 1u);
}

TEST_F(MaskedAssignmentTest, AManifestWithoutMaskingIsRefused) {
  manifest_.clear_masking();
  EXPECT_EQ(Code(), v1::MANIFEST_POLICY);
}

TEST_F(MaskedAssignmentTest, TheDevicesOwnFloorHolds) {
  EXPECT_EQ(Code(5), v1::MANIFEST_POLICY);
  EXPECT_TRUE(Verify(4).ok());
}

TEST_F(MaskedAssignmentTest, A13ARosterOfAnotherKeyIsRefused) {
  roster_key_ = &keys_.round;
  EXPECT_EQ(Code(), v1::BAD_ROSTER);
}

TEST_F(MaskedAssignmentTest, A13AnExpiredRosterIsRefused) {
  head_.mutable_header()->set_issued_ms(1);
  head_.mutable_header()->set_expires_ms(2);
  EXPECT_EQ(Code(), v1::BAD_ROSTER);
}

TEST_F(MaskedAssignmentTest, A13ARosterThatCannotBeIsRefused) {
  head_.set_root("short");
  manifest_.mutable_masking()->set_roster_root("short");
  EXPECT_EQ(Code(), v1::BAD_ROSTER);
}

TEST_F(MaskedAssignmentTest, ARoundBeyondThePlansIsRefused) {
  manifest_.set_round(plan_.rounds().count());
  EXPECT_EQ(Code(), v1::MANIFEST_POLICY);
}

TEST_F(MaskedAssignmentTest, A13AnotherRosterThanTheManifestsIsRefused) {
  for (const auto& change : std::vector<std::function<void(v1::RosterHead&)>>{
           [](auto& h) { h.set_version(4); },
           [](auto& h) { h.set_leaf_count(9); },
           [](auto& h) { h.set_root(std::string(32, 'x')); }}) {
    const v1::RosterHead before = head_;
    change(head_);
    EXPECT_EQ(Code(), v1::BAD_ROSTER);
    head_ = before;
  }
}

TEST_F(MaskedAssignmentTest, A14ABrokenChainOfCardsIsRefused) {
  link_ = false;
  EXPECT_EQ(Code(), v1::REPLAY);
}

TEST_F(MaskedAssignmentTest, A14ARolledBackAdapterIsRefused) {
  manifest_.set_adapter_digest(cards_[0].adapter_digest());
  EXPECT_EQ(Code(), v1::REPLAY);
}

TEST_F(MaskedAssignmentTest, A14AChainOfAnotherLengthIsRefused) {
  AddCard(2);
  manifest_.set_adapter_digest(cards_[2].adapter_digest());
  EXPECT_EQ(Code(), v1::REPLAY);
  cards_.clear();
  EXPECT_EQ(Code(), v1::REPLAY);
}

TEST_F(MaskedAssignmentTest, A14ACardOfAnotherRunIsRefused) {
  cards_[0].set_plan_digest(std::string(32, 'z'));
  EXPECT_EQ(Code(), v1::REPLAY);
}

TEST_F(MaskedAssignmentTest, A14ACardThatCannotBeIsRefused) {
  cards_[0].set_updates(7);  // of an adapter that nobody trained
  EXPECT_EQ(Code(), v1::REPLAY);
}

TEST_F(MaskedAssignmentTest, AnOverrideThatCannotBeIsRefused) {
  overrides_ = {Override(0)};
  EXPECT_EQ(Code(), v1::MANIFEST_POLICY);
}

TEST_F(MaskedAssignmentTest, AnOverrideCountsForItsRunOnly) {
  overrides_ = {Override(2)};
  overrides_[0].set_plan_digest(std::string(32, 'z'));
  EXPECT_EQ(Verify()->history.allowed, 1u);
}

TEST_F(MaskedAssignmentTest, AnOverrideCountsForItsAdapterOnly) {
  overrides_ = {Override(2), Override(1)};
  EXPECT_EQ(Verify()->history.allowed, 3u);
  overrides_ = {Override(2)};
  overrides_[0].set_adapter_digest(std::string(32, 'z'));
  EXPECT_EQ(Verify()->history.allowed, 1u);
}

TEST_F(MaskedAssignmentTest, AnOverrideOfTheCoordinatorsKeyIsRefused) {
  v1::Assignment assignment = Put();
  auto forged = SignDocument(DocumentUse::kOverride,
                             Override(1).SerializeAsString(), keys_.round);
  ASSERT_TRUE(forged.ok());
  *assignment.add_overrides() = *forged;
  EXPECT_EQ(secagg::AbortCodeOf(VerifyMaskedTerms(assignment, plan_,
                                                  keys_.trusted, 0, absl::Now())
                                    .status()),
            v1::BAD_SIGNATURE);
}

}  // namespace
}  // namespace edgetune
