// Records that cannot be the history of a session: each single fault is refused
// and nothing is done.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/restored.h"

namespace edgetune::secagg {
namespace {

using ::testing::IsEmpty;
using Message = v1::SecAggClientMessage;
using Phase = SecAggServer::Phase;
using Record = SecAggServer::Record;

class SecAggBadRecordsTest : public ::testing::Test {
 protected:
  SecAggBadRecordsTest() : session_(FleetOfSeven(), Seven()) {
    session_.clients[2].stop = Stage::kR3;
    session_.Run();
    records_ = Flat(session_.batches);
  }
  bool IsDataLoss(const std::vector<Record>& records) {
    SecAggServer::Actions actions;
    const auto restored = Restored(session_, records, actions);
    if (!restored.ok()) {
      EXPECT_THAT(actions, IsEmpty());
    }
    return absl::IsDataLoss(restored.status());
  }
  // The first record of this kind and phase.
  Record& Find(Record::Kind kind, Phase phase) {
    return *std::ranges::find_if(records_, [&](const Record& record) {
      return record.kind == kind && record.phase == phase;
    });
  }

  Harness session_;
  std::vector<Record> records_;
};

TEST_F(SecAggBadRecordsTest, NoneOrThoseOfAnotherSession) {
  EXPECT_FALSE(IsDataLoss(records_));
  EXPECT_TRUE(IsDataLoss({}));
  records_[0].bytes = BytesOf(Digest{});
  EXPECT_TRUE(IsDataLoss(records_));
}

TEST_F(SecAggBadRecordsTest, OneMissing) {
  for (size_t missing = 0; missing < records_.size(); ++missing) {
    std::vector<Record> fewer = records_;
    fewer.erase(fewer.begin() + missing);
    const bool transition = records_[missing].kind == Record::Kind::kTransition;
    const bool last = missing + 1 == records_.size();
    // Without one of the later messages a history may still be one.
    if ((transition && !last) || records_[missing].phase == Phase::kShares) {
      EXPECT_TRUE(IsDataLoss(fewer)) << missing;
    }
  }
}

TEST_F(SecAggBadRecordsTest, OneTwice) {
  for (size_t at = 0; at < records_.size(); ++at) {
    std::vector<Record> more = records_;
    more.insert(more.begin() + at, records_[at]);
    EXPECT_TRUE(IsDataLoss(more)) << at;
  }
}

TEST_F(SecAggBadRecordsTest, IndexAndPhaseOutOfRange) {
  for (size_t at = 1; at < records_.size(); ++at) {
    std::vector<Record> wrong = records_;
    wrong[at].phase = static_cast<Phase>(99);
    EXPECT_TRUE(IsDataLoss(wrong)) << at;
    for (const uint32_t index : {session_.options.n, 1u << 30}) {
      wrong = records_;
      wrong[at].index = index;
      EXPECT_EQ(IsDataLoss(wrong), wrong[at].kind == Record::Kind::kMessage);
    }
  }
}

TEST_F(SecAggBadRecordsTest, AMemberInAnothersName) {
  Find(Record::Kind::kMessage, Phase::kShares).index = 6;
  EXPECT_TRUE(IsDataLoss(records_));
}

// Nothing follows that would contradict it.
TEST_F(SecAggBadRecordsTest, TheLastMessageWithAnotherSignature) {
  for (const Phase phase :
       {Phase::kShares, Phase::kAcks, Phase::kInput, Phase::kSurvivors}) {
    Record& message = Find(Record::Kind::kMessage, phase);
    std::vector<Record> history(records_.data(), &message + 1);
    EXPECT_FALSE(IsDataLoss(history)) << PhaseName(phase);
    // The signature is the last field of each.
    char& last = history.back().bytes.back();
    last = static_cast<char>(last ^ 4);
    EXPECT_TRUE(IsDataLoss(history)) << PhaseName(phase);
  }
}

TEST_F(SecAggBadRecordsTest, AFlippedBitInAMessage) {
  for (const Phase phase :
       {Phase::kShares, Phase::kAcks, Phase::kInput, Phase::kSurvivors}) {
    std::string& bytes = Find(Record::Kind::kMessage, phase).bytes;
    for (size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 100) {
      bytes[at] = static_cast<char>(bytes[at] ^ 4);
      EXPECT_TRUE(IsDataLoss(records_)) << PhaseName(phase) << " " << at;
      bytes[at] = static_cast<char>(bytes[at] ^ 4);
    }
  }
}

TEST_F(SecAggBadRecordsTest, AShortenedRecord) {
  for (size_t at = 1; at + 1 < records_.size(); ++at) {
    std::vector<Record> wrong = records_;
    wrong[at].bytes.resize(wrong[at].bytes.size() / 2);
    EXPECT_TRUE(IsDataLoss(wrong)) << at;
    wrong[at].bytes.clear();
    EXPECT_TRUE(IsDataLoss(wrong)) << at;
  }
}

TEST_F(SecAggBadRecordsTest, ASurvivorThatUploadedNothing) {
  Record& record = Find(Record::Kind::kTransition, Phase::kSurvivors);
  v1::SecAggServerMessage message;
  ASSERT_TRUE(message.ParseFromString(record.bytes));
  ASSERT_EQ(message.freeze().u3(), "\x7b");
  // Last, so that no signature over it follows.
  const auto at = static_cast<size_t>(&record - records_.data());
  records_.resize(at + 1);
  EXPECT_FALSE(IsDataLoss(records_));
  // One without a vector, too few, and a bit of nobody.
  for (const char u3 : {'\x7f', '\x0b', '\xfb'}) {
    message.mutable_freeze()->set_u3(std::string(1, u3));
    records_[at].bytes = message.SerializeAsString();
    EXPECT_TRUE(IsDataLoss(records_));
  }
}

TEST_F(SecAggBadRecordsTest, AMessageOfAnotherKindInItsPlace) {
  Record& ack = Find(Record::Kind::kMessage, Phase::kAcks);
  ack.bytes = std::ranges::find_if(records_, [&](const Record& record) {
                return record.kind == Record::Kind::kMessage &&
                       record.phase == Phase::kShares &&
                       record.index == ack.index;
              })->bytes;
  EXPECT_TRUE(IsDataLoss(records_));
}

// Member 2 uploaded nothing, so it was asked for no shares.
TEST_F(SecAggBadRecordsTest, AnAnswerToR5OfWhoWasNotAsked) {
  Find(Record::Kind::kMessage, Phase::kUnmask).index = 2;
  EXPECT_TRUE(IsDataLoss(records_));
}

// Member 2 uploaded nothing; it signs U3 all the same.
TEST_F(SecAggBadRecordsTest, AMessageOfWhoWasNotAsked) {
  const v1::GroupReceipt receipt = session_.server->Receipt();
  const auto first = std::ranges::find_if(records_, [](const Record& record) {
    return record.phase == Phase::kSurvivors &&
           record.kind == Record::Kind::kMessage;
  });
  Message message;
  ASSERT_TRUE(message.ParseFromString(first->bytes));
  message.mutable_survivors()->set_signature(
      session_.fleet.identities[2]
          .Sign(U3Bytes(session_.server->session(), receipt.u2(), receipt.u3()))
          .value());
  records_.insert(first, {Record::Kind::kMessage, Phase::kSurvivors, 2,
                          message.SerializeAsString()});
  EXPECT_TRUE(IsDataLoss(records_));
}

// A complaint about oneself, with a good signature.
TEST_F(SecAggBadRecordsTest, AMessageOfAnotherForm) {
  Record& record = Find(Record::Kind::kMessage, Phase::kAcks);
  Message message;
  ASSERT_TRUE(message.ParseFromString(record.bytes));
  message.mutable_ack()->add_bad(record.index);
  SignMessage(session_, record.index, message);
  record.bytes = message.SerializeAsString();
  EXPECT_TRUE(IsDataLoss(records_));
}

// What comes before each of these is a history.
TEST_F(SecAggBadRecordsTest, ATransitionAtTheEndThatCannotBe) {
  const auto at = [&](Phase phase) {
    return std::ranges::find_if(records_, [&](const Record& record) {
      return record.kind == Record::Kind::kTransition && record.phase == phase;
    });
  };
  const std::string freeze = at(Phase::kSurvivors)->bytes;
  const std::string unmask = at(Phase::kUnmask)->bytes;
  const std::vector<Record> before(records_.begin(), at(Phase::kSurvivors));
  const std::vector<Record> unmasking(records_.begin(), records_.end() - 1);
  const auto with = [](std::vector<Record> records, Phase phase,
                       const std::string& bytes) {
    records.push_back({Record::Kind::kTransition, phase, 0, bytes});
    return records;
  };
  EXPECT_FALSE(IsDataLoss(with(before, Phase::kSurvivors, freeze)));
  EXPECT_TRUE(IsDataLoss(
      with(before, Phase::kSurvivors, freeze.substr(0, freeze.size() / 2))));
  EXPECT_TRUE(IsDataLoss(with(before, Phase::kAborted, freeze)));
  EXPECT_TRUE(IsDataLoss(with(before, Phase::kDone, "")));
  EXPECT_FALSE(IsDataLoss(with(unmasking, Phase::kDone, "")));
  EXPECT_TRUE(IsDataLoss(with(unmasking, Phase::kVerifying, unmask)));
}

TEST_F(SecAggBadRecordsTest, SomethingAfterTheEnd) {
  records_.push_back(records_.back());
  EXPECT_TRUE(IsDataLoss(records_));
}

}  // namespace
}  // namespace edgetune::secagg
