#include "client/session_store.h"

#include <gtest/gtest.h>

#include <memory>

namespace edgetune {
namespace {

class SessionStoreTest : public ::testing::Test {
 protected:
  static SessionId Id(uint32_t round, uint32_t attempt = 0, char run = 'r') {
    return {std::string(32, run), round, attempt};
  }
  absl::Status Begin(const SessionId& id) {
    v1::Assignment assignment;
    assignment.mutable_plan()->set_payload("plan");
    return store_.Begin(id, assignment, now_);
  }
  absl::Status End(const SessionId& id) {
    return store_.End(id, ClientSession::Ending::kAccepted, "", now_);
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<Database> database_ =
      *Database::Open(":memory:", SessionStore::Migrations());
  SessionStore store_{database_.get()};
};

TEST_F(SessionStoreTest, FreshDeviceHasNothingUnfinished) {
  const auto unfinished = store_.ReadUnfinished();
  ASSERT_TRUE(unfinished.ok());
  EXPECT_FALSE(unfinished->has_value());
}

TEST_F(SessionStoreTest, BegunSessionIsFoundWithItsDocuments) {
  ASSERT_TRUE(Begin(Id(1)).ok());
  const auto unfinished = store_.ReadUnfinished();
  ASSERT_TRUE(unfinished.ok() && unfinished->has_value());
  EXPECT_EQ((*unfinished)->id, Id(1));
  EXPECT_EQ((*unfinished)->assignment.plan().payload(), "plan");
  EXPECT_FALSE((*unfinished)->report.has_value());
}

TEST_F(SessionStoreTest, SavedReportIsFoundWordForWord) {
  ASSERT_TRUE(Begin(Id(1)).ok());
  v1::Report report;
  report.set_weight(3.5);
  report.set_update_digest(std::string(32, '\xff'));
  ASSERT_TRUE(store_.SaveReport(Id(1), report, now_).ok());
  const auto unfinished = store_.ReadUnfinished();
  ASSERT_TRUE(unfinished.ok() && (*unfinished)->report.has_value());
  EXPECT_EQ((*unfinished)->report->SerializeAsString(),
            report.SerializeAsString());
}

TEST_F(SessionStoreTest, EndedSessionIsNotFoundAndNotBegunAgain) {
  ASSERT_TRUE(Begin(Id(1)).ok());
  ASSERT_TRUE(End(Id(1)).ok());
  EXPECT_FALSE(store_.ReadUnfinished()->has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(Begin(Id(1))));
}

TEST_F(SessionStoreTest, UnfinishedSessionItselfMayGoOn) {
  ASSERT_TRUE(Begin(Id(1)).ok());
  EXPECT_TRUE(Begin(Id(1)).ok());
}

TEST_F(SessionStoreTest, RoundsAndAttemptsOnlyRise) {
  ASSERT_TRUE(Begin(Id(1, 1)).ok());
  ASSERT_TRUE(End(Id(1, 1)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Begin(Id(0, 5))));
  EXPECT_TRUE(absl::IsFailedPrecondition(Begin(Id(1, 0))));
  EXPECT_TRUE(Begin(Id(1, 2)).ok());
  EXPECT_TRUE(Begin(Id(2, 0)).ok());
}

TEST_F(SessionStoreTest, EachRunHasItsOwnMark) {
  ASSERT_TRUE(Begin(Id(5)).ok());
  EXPECT_TRUE(Begin(Id(0, 0, 's')).ok());
}

TEST_F(SessionStoreTest, RefusedSessionLeavesNoTrace) {
  ASSERT_TRUE(Begin(Id(2)).ok());
  ASSERT_TRUE(End(Id(2)).ok());
  EXPECT_FALSE(Begin(Id(1)).ok());
  EXPECT_FALSE(store_.ReadUnfinished()->has_value());
}

TEST_F(SessionStoreTest, UnreadableSessionIsDataLoss) {
  ASSERT_TRUE(Begin(Id(1)).ok());
  ASSERT_TRUE(database_
                  ->Run([](Transaction& transaction) {
                    return transaction.Execute("UPDATE session SET report=?",
                                               {Blob{"\xff\xff"}});
                  })
                  .ok());
  EXPECT_TRUE(absl::IsDataLoss(store_.ReadUnfinished().status()));
}

}  // namespace
}  // namespace edgetune
