#include "client/masking_store.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "client/session_store.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

class MaskingStoreTest : public ::testing::Test {
 protected:
  static MaskedTerms::History History(size_t cards = 1) {
    MaskedTerms::History history;
    history.run_id = std::string(32, 'r');
    history.roster_version = 5;
    for (size_t i = 0; i < cards; ++i) {
      history.cards.push_back(std::string(32, static_cast<char>('a' + i)));
    }
    history.base_digest = std::string(32, 'b');
    history.adapter_digest = std::string(32, static_cast<char>('A' + cards));
    return history;
  }
  v1::AbortCode Admit(const MaskedTerms::History& history) {
    return secagg::AbortCodeOf(store_.Admit(history));
  }

  void Change(const char* sql) {
    ASSERT_TRUE(database_
                    ->Run([&](Transaction& transaction) {
                      return transaction.Execute(sql);
                    })
                    .ok());
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  const SessionId id_ = {std::string(32, 'r'), 2, 1};
  std::unique_ptr<Database> database_ =
      *Database::Open(":memory:", SessionStore::Migrations());
  MaskingStore store_{database_.get()};
};

TEST_F(MaskingStoreTest, A12ASpentAdapterIsNotContributedFromAgain) {
  ASSERT_TRUE(store_.Admit(History()).ok());
  ASSERT_TRUE(store_.Spend(History(), Digest{1}, now_).ok());
  EXPECT_EQ(Admit(History()), v1::SPENT);
  EXPECT_EQ(secagg::AbortCodeOf(store_.Spend(History(), Digest{2}, now_)),
            v1::SPENT);
}

TEST_F(MaskingStoreTest, A12AnotherAdapterKindOrRunIsAnotherContribution) {
  ASSERT_TRUE(store_.Spend(History(), Digest{1}, now_).ok());
  EXPECT_TRUE(store_.Admit(History(2)).ok());
  MaskedTerms::History eval = History(2);
  ASSERT_TRUE(store_.Spend(eval, Digest{2}, now_).ok());
  eval.kind = v1::RoundManifest::EVAL;
  EXPECT_TRUE(store_.Admit(eval).ok());
  MaskedTerms::History other = History();
  other.run_id = std::string(32, 's');
  EXPECT_TRUE(store_.Admit(other).ok());
}

TEST_F(MaskingStoreTest, A12AnOverrideAllowsOneMore) {
  ASSERT_TRUE(store_.Spend(History(), Digest{1}, now_).ok());
  MaskedTerms::History history = History();
  history.allowed = 2;
  ASSERT_TRUE(store_.Admit(history).ok());
  ASSERT_TRUE(store_.Spend(history, Digest{2}, now_).ok());
  EXPECT_EQ(Admit(history), v1::SPENT);
}

TEST_F(MaskingStoreTest, A13AnOlderRosterIsRefused) {
  ASSERT_TRUE(store_.Admit(History()).ok());
  MaskedTerms::History older = History();
  older.roster_version = 4;
  EXPECT_EQ(Admit(older), v1::BAD_ROSTER);
  older.roster_version = 6;
  EXPECT_TRUE(store_.Admit(older).ok());
  EXPECT_EQ(Admit(History()), v1::BAD_ROSTER);
}

TEST_F(MaskingStoreTest, A13AnOlderRosterIsRefusedAfterARestart) {
  const testing::ScratchDirectory scratch;
  const auto open = [&] {
    return *Database::Open(scratch.File("client.db"),
                           SessionStore::Migrations());
  };
  ASSERT_TRUE(MaskingStore(open().get()).Admit(History()).ok());
  MaskedTerms::History older = History();
  older.roster_version = 4;
  const auto database = open();
  EXPECT_EQ(secagg::AbortCodeOf(MaskingStore(database.get()).Admit(older)),
            v1::BAD_ROSTER);
  EXPECT_TRUE(MaskingStore(database.get()).Admit(History()).ok());
}

TEST_F(MaskingStoreTest, A14AChainWithoutTheCardSeenBeforeIsRefused) {
  ASSERT_TRUE(store_.Admit(History(3)).ok());
  EXPECT_TRUE(store_.Admit(History(4)).ok());
  EXPECT_EQ(Admit(History(3)), v1::REPLAY);  // rolled back
  MaskedTerms::History forked = History(5);
  forked.cards[3] = std::string(32, 'x');
  EXPECT_EQ(Admit(forked), v1::REPLAY);
}

TEST_F(MaskingStoreTest, ARefusedAssignmentLeavesNoMark) {
  ASSERT_TRUE(store_.Spend(History(), Digest{1}, now_).ok());
  MaskedTerms::History newer = History();
  newer.roster_version = 9;
  EXPECT_EQ(Admit(newer), v1::SPENT);
  EXPECT_TRUE(store_.Admit(History(2)).ok());  // version 5 is still accepted
}

TEST_F(MaskingStoreTest, A12OneSessionIsSpentOnce) {
  MaskedTerms::History history = History();
  history.allowed = 9;
  ASSERT_TRUE(store_.Spend(history, Digest{1}, now_).ok());
  EXPECT_FALSE(store_.Spend(history, Digest{1}, now_).ok());
  EXPECT_TRUE(store_.Spend(history, Digest{2}, now_).ok());
}

// Never taken for no mark at all.
TEST_F(MaskingStoreTest, A28AnUnreadableMarkIsDataLoss) {
  for (const char* damage :
       {"UPDATE roster_mark SET version=x'00'",
        "UPDATE card_mark SET version=x'00'", "UPDATE card_mark SET version=-1",
        "UPDATE card_mark SET digest='text'"}) {
    ASSERT_TRUE(store_.Admit(History()).ok());
    Change(damage);
    EXPECT_TRUE(absl::IsDataLoss(store_.Admit(History()))) << damage;
    Change("DELETE FROM roster_mark");
    Change("DELETE FROM card_mark");
  }
}

TEST_F(MaskingStoreTest, A28AnUnreadableSurvivorSetIsDataLoss) {
  Digest digest;
  digest.fill(7);
  ASSERT_TRUE(store_.RememberSurvivors(id_, digest, "document", now_).ok());
  for (const char* column :
       {"run_id", "round", "attempt", "document", "signed_ms"}) {
    Change("DELETE FROM signed_sets");
    ASSERT_TRUE(store_.RememberSurvivors(id_, digest, "document", now_).ok());
    Change(("UPDATE signed_sets SET " + std::string(column) + "=1.5").c_str());
    EXPECT_TRUE(
        absl::IsDataLoss(store_.FindSigned(std::string(32, '\7')).status()))
        << column;
  }
}

TEST_F(MaskingStoreTest, RemembersWhatWasAdvertisedAndSigned) {
  EXPECT_FALSE(*store_.HasAdvertised(id_));
  ASSERT_TRUE(store_.MarkAdvertised(id_).ok());
  ASSERT_TRUE(store_.MarkAdvertised(id_).ok());
  EXPECT_TRUE(*store_.HasAdvertised(id_));
  const std::string session(32, '\7');
  Digest digest;
  digest.fill(7);
  EXPECT_FALSE(store_.FindSigned(session)->has_value());
  ASSERT_TRUE(store_.RememberSurvivors(id_, digest, "document", now_).ok());
  const auto found = store_.FindSigned(session);
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->id, id_);
  EXPECT_EQ((*found)->document, "document");
  // A second set for one session cannot even be written.
  EXPECT_FALSE(store_.RememberSurvivors(id_, digest, "other", now_).ok());
}

}  // namespace
}  // namespace edgetune
