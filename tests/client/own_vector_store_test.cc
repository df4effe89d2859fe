#include "client/own_vector_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "client/session_store.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kRun(32, 'r');

SessionId Id(uint32_t round, uint32_t attempt = 0,
             const std::string& run = kRun) {
  return {run, round, attempt};
}

class OwnVectorStoreTest : public ::testing::Test {
 protected:
  absl::Status Settle(const std::optional<SessionId>& counted) {
    return store_.Settle(kRun, counted, now_);
  }
  absl::Status Keep(const SessionId& id, float value) {
    return store_.Keep(id, ParameterVector{value, -value},
                       now_ + absl::Hours(1));
  }
  float Own(const std::string& run = kRun) {
    const ParameterVector own = *store_.Read(run, 2);
    return own.empty() ? 0 : own.at(0);
  }
  void Execute(const char* sql) {
    ASSERT_TRUE(database_
                    ->Run([&](Transaction& transaction) {
                      return transaction.Execute(sql);
                    })
                    .ok());
  }

  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<Database> database_ =
      *Database::Open(":memory:", SessionStore::Migrations());
  OwnVectorStore store_{database_.get()};
};

TEST_F(OwnVectorStoreTest, ADeviceBeginsWithNone) {
  ASSERT_TRUE(Settle(std::nullopt).ok());
  EXPECT_THAT(*store_.Read(kRun, 3), IsEmpty());
}

TEST_F(OwnVectorStoreTest, WhatIsCountedBecomesItsOwn) {
  ASSERT_TRUE(Settle(std::nullopt).ok());
  ASSERT_TRUE(Keep(Id(0), 5).ok());
  EXPECT_EQ(Own(), 0);
  for (int again = 0; again < 2; ++again) {
    ASSERT_TRUE(Settle(Id(0)).ok());
    EXPECT_THAT(*store_.Read(kRun, 2), ElementsAre(5, -5));
  }
  ASSERT_TRUE(Keep(Id(1), 7).ok());
  ASSERT_TRUE(Settle(Id(1)).ok());
  EXPECT_EQ(Own(), 7);
}

TEST_F(OwnVectorStoreTest, WhatIsNotCountedIsDropped) {
  ASSERT_TRUE(Keep(Id(0), 5).ok());
  ASSERT_TRUE(Settle(std::nullopt).ok());
  EXPECT_EQ(Own(), 0);
  EXPECT_FALSE(Settle(Id(0)).ok());  // it is gone
  ASSERT_TRUE(Keep(Id(1), 6).ok());
  ASSERT_TRUE(Settle(Id(1)).ok());
  ASSERT_TRUE(Keep(Id(2), 9).ok());
  ASSERT_TRUE(Settle(Id(1)).ok());
  EXPECT_EQ(Own(), 6);
}

// A round is tried again: only one of its attempts may count.
TEST_F(OwnVectorStoreTest, TheAttemptMatters) {
  ASSERT_TRUE(Keep(Id(0, 1), 5).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Settle(Id(0, 0))));
  ASSERT_TRUE(Settle(Id(0, 1)).ok());
  EXPECT_EQ(Own(), 5);
}

TEST_F(OwnVectorStoreTest, ACarriedOneIsThatOfTheNewSession) {
  ASSERT_TRUE(Keep(Id(0, 0), 5).ok());
  ASSERT_TRUE(store_.Carry(Id(0, 1)).ok());
  EXPECT_FALSE(Settle(Id(0, 0)).ok());
  ASSERT_TRUE(Settle(Id(0, 1)).ok());
  EXPECT_EQ(Own(), 5);
  ASSERT_TRUE(store_.Carry(Id(1)).ok());  // nothing waits
  EXPECT_TRUE(Settle(Id(0, 1)).ok());
}

TEST_F(OwnVectorStoreTest, AnAttemptAgainReplacesWhatWaits) {
  ASSERT_TRUE(Keep(Id(0), 5).ok());
  ASSERT_TRUE(Keep(Id(0), 6).ok());
  ASSERT_TRUE(Settle(Id(0)).ok());
  EXPECT_EQ(Own(), 6);
}

TEST_F(OwnVectorStoreTest, ADeviceThatLostItsStateIsRefused) {
  const absl::Status lost = Settle(Id(3, 1));
  EXPECT_TRUE(absl::IsFailedPrecondition(lost));
  EXPECT_THAT(
      std::string(lost.message()),
      HasSubstr("counts round 3 attempt 1 as this device's last update in the "
                "adapter, what this device keeps is of none"));
  ASSERT_TRUE(Keep(Id(0), 5).ok());
  ASSERT_TRUE(Settle(Id(0)).ok());
  EXPECT_THAT(std::string(Settle(std::nullopt).message()),
              HasSubstr("counts none"));
  EXPECT_EQ(Own(), 5);
}

TEST_F(OwnVectorStoreTest, RunsDoNotMixAndEnd) {
  const std::string other(32, 'o');
  ASSERT_TRUE(Keep(Id(0), 5).ok());
  ASSERT_TRUE(Keep(Id(0, 0, other), 8).ok());
  ASSERT_TRUE(Settle(Id(0)).ok());
  EXPECT_EQ(Own(other), 0);
  ASSERT_TRUE(store_.Forget(kRun).ok());
  EXPECT_EQ(Own(), 0);
  ASSERT_TRUE(store_.Settle(other, Id(0, 0, other), now_).ok());
  EXPECT_EQ(Own(other), 8);
  // An hour later its plan has expired.
  now_ += absl::Hours(2);
  ASSERT_TRUE(Settle(std::nullopt).ok());
  EXPECT_EQ(Own(other), 0);
}

TEST_F(OwnVectorStoreTest, AnotherSizeOrAnUnreadableRowIsDataLoss) {
  ASSERT_TRUE(Keep(Id(0), 5).ok());
  ASSERT_TRUE(Settle(Id(0)).ok());
  EXPECT_TRUE(absl::IsDataLoss(store_.Read(kRun, 3).status()));
  Execute("UPDATE controls SET own_round=NULL");
  EXPECT_TRUE(absl::IsDataLoss(Settle(Id(0))));
  Execute("UPDATE controls SET own='text', own_round=0");
  EXPECT_TRUE(absl::IsDataLoss(store_.Read(kRun, 2).status()));
}

}  // namespace
}  // namespace edgetune
