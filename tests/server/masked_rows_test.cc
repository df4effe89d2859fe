// The rows of a masked round by themselves: what is written is read again, and
// what this program did not write is noticed.

#include "server/masked_rows.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "server/coordinator.h"
#include "storage/database.h"

namespace edgetune {
namespace {

using Record = secagg::SecAggServer::Record;
using Phase = secagg::SecAggServer::Phase;

class MaskedRowsTest : public ::testing::Test {
 protected:
  MaskedRowsTest() {
    Batch batch;
    v1::CohortEntry entry;
    entry.set_client_id("id");
    SaveKeys(id_, "d0", entry, batch);
    SaveGroup(id_, 0, {entry}, batch);
    SaveRecord(id_, 0, 0,
               {Record::Kind::kTransition, Phase::kShares, 0, "session"},
               batch);
    SaveRecord(id_, 0, 1, {Record::Kind::kMessage, Phase::kShares, 4, "shares"},
               batch);
    SaveRecord(id_, 0, 2, {Record::Kind::kTransition, Phase::kAcks, 0, "u2"},
               batch);
    Write(batch);
  }

  void Write(const Batch& batch) {
    ASSERT_TRUE(database_
                    ->Run([&](Transaction& transaction) -> absl::Status {
                      for (const Batch::Write& write : batch.writes) {
                        EDGETUNE_RETURN_IF_ERROR(
                            transaction.Execute(write.sql, write.arguments));
                      }
                      return absl::OkStatus();
                    })
                    .ok());
  }
  void Change(const char* sql) {
    Batch batch;
    batch.writes.push_back({sql, {}});
    Write(batch);
  }
  absl::StatusOr<StoredMasking> Load() {
    absl::StatusOr<StoredMasking> stored = absl::UnknownError("");
    EXPECT_TRUE(database_
                    ->Run([&](Transaction& transaction) {
                      stored = LoadMasking(transaction, id_.run_id);
                      return absl::OkStatus();
                    })
                    .ok());
    return stored;
  }
  // What loading makes of rows after this change, which is taken back.
  absl::Status LoadAfter(const char* sql) {
    absl::Status status;
    (void)database_->Run([&](Transaction& transaction) -> absl::Status {
      EDGETUNE_RETURN_IF_ERROR(transaction.Execute(sql));
      status = LoadMasking(transaction, id_.run_id).status();
      return absl::AbortedError("taken back");
    });
    return status;
  }

  const AttemptId id_ = {std::string(32, 'r'), 0, 0};
  std::unique_ptr<Database> database_ =
      *Database::Open(":memory:", Coordinator::Migrations());
};

TEST_F(MaskedRowsTest, WhatWasWrittenIsReadAgain) {
  const auto stored = Load();
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->keys.at("d0").client_id(), "id");
  ASSERT_EQ(stored->groups.size(), 1u);
  const StoredGroup& group = stored->groups[0];
  EXPECT_EQ(group.cohort.size(), 1u);
  ASSERT_EQ(group.records.size(), 3u);
  EXPECT_EQ(group.records[1],
            (Record{Record::Kind::kMessage, Phase::kShares, 4, "shares"}));
  EXPECT_EQ(group.next_number, 3u);
  EXPECT_FALSE(group.damaged || group.damaged_end);
}

// A28: each column in turn holds another value of its own kind.
TEST_F(MaskedRowsTest, EveryColumnIsUnderTheDigest) {
  const char* const changes[][2] = {
      {"UPDATE secagg_records SET kind=1 WHERE number=1",
       "UPDATE secagg_records SET kind=0 WHERE number=1"},
      {"UPDATE secagg_records SET phase=1 WHERE number=1",
       "UPDATE secagg_records SET phase=0 WHERE number=1"},
      {"UPDATE secagg_records SET member=5 WHERE number=1",
       "UPDATE secagg_records SET member=4 WHERE number=1"},
      {"UPDATE secagg_records SET bytes=x'00' WHERE number=1",
       "UPDATE secagg_records SET bytes=CAST('shares' AS BLOB) WHERE number=1"},
      {"UPDATE secagg_records SET digest=zeroblob(32) WHERE number=1", nullptr},
  };
  for (const auto& [change, back] : changes) {
    Change(change);
    const auto stored = Load();
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_TRUE(stored->groups[0].damaged) << change;
    EXPECT_FALSE(stored->groups[0].damaged_end) << change;
    EXPECT_EQ(stored->groups[0].records.size(), 2u) << change;
    if (back == nullptr) continue;
    Change(back);
    EXPECT_FALSE(Load()->groups[0].damaged) << back;
  }
}

TEST_F(MaskedRowsTest, ADamagedLastRowIsToldApart) {
  Change("UPDATE secagg_records SET bytes=x'00' WHERE number=2");
  const auto stored = Load();
  ASSERT_TRUE(stored.ok());
  EXPECT_TRUE(stored->groups[0].damaged);
  EXPECT_TRUE(stored->groups[0].damaged_end);
  // Its number is not given to another.
  EXPECT_EQ(stored->groups[0].next_number, 3u);
}

// With a digest that fits: another program's.
TEST_F(MaskedRowsTest, AKindOrPhaseThatIsNoneIsDamage) {
  for (const Record& record :
       {Record{static_cast<Record::Kind>(2), Phase::kAcks, 0, "x"},
        Record{Record::Kind::kMessage, static_cast<Phase>(8), 0, "x"}}) {
    Batch batch;
    SaveRecord(id_, 0, 3, record, batch);
    Write(batch);
    EXPECT_TRUE(Load()->groups[0].damaged_end);
    Change("DELETE FROM secagg_records WHERE number=3");
  }
}

TEST_F(MaskedRowsTest, AMissingGroupIsDataLoss) {
  EXPECT_TRUE(absl::IsDataLoss(LoadAfter("UPDATE secagg_groups SET grp=1")));
}

TEST_F(MaskedRowsTest, AnUnreadableDocumentIsDataLoss) {
  for (const char* sql :
       {"UPDATE secagg_keys SET entry=x'ff'",
        "UPDATE secagg_groups SET cohort=x'ff'",
        "INSERT INTO secagg_overrides SELECT run_id, x'00', x'ff' "
        "FROM secagg_keys",
        "INSERT INTO secagg_receipts SELECT run_id, 0, x'00' FROM secagg_keys",
        "INSERT INTO secagg_spent SELECT run_id, 'd0', -1 FROM secagg_keys"}) {
    EXPECT_TRUE(absl::IsDataLoss(LoadAfter(sql))) << sql;
  }
}

TEST_F(MaskedRowsTest, AnAttemptThatEndedLeavesNoRow) {
  Batch batch;
  ForgetAttempt(id_, batch);
  Write(batch);
  const auto stored = Load();
  ASSERT_TRUE(stored.ok());
  EXPECT_TRUE(stored->keys.empty());
  EXPECT_TRUE(stored->groups.empty());
  // Its records too, which show with a group of the next attempt.
  Batch next;
  SaveGroup({id_.run_id, 0, 1}, 0, {}, next);
  Write(next);
  EXPECT_TRUE(Load()->groups[0].records.empty());
}

}  // namespace
}  // namespace edgetune
