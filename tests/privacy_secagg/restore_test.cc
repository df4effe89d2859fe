// A coordinator that dies and comes back from its records: the session ends
// with the same survivor set and the exact sum, or cleanly without one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/restored.h"

namespace edgetune::secagg {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Message = v1::SecAggClientMessage;
using Phase = SecAggServer::Phase;
using Kind = SecAggServer::Action::Kind;
using Record = SecAggServer::Record;

size_t BatchesOf(Stage first, Stage second) {
  Harness session(FleetOfSeven(), Seven());
  session.clients[2].stop = first;
  session.clients[6].stop = second;
  session.Run();
  EXPECT_TRUE(session.Committed());
  return session.batches.size();
}

// Dies at every batch in every way, with two members that stop.
void ExpectEveryDeathSurvived(Stage first, Stage second) {
  const size_t batches = BatchesOf(first, second);
  for (size_t batch = 1; batch <= batches; ++batch) {
    for (const auto death :
         {Harness::Death::kBeforeCommit, Harness::Death::kAfterCommit,
          Harness::Death::kAfterSends}) {
      Harness::Options options = Seven();
      options.death_batch = batch;
      options.death = death;
      Harness session(FleetOfSeven(), options);
      session.clients[2].stop = first;
      session.clients[6].stop = second;
      session.Run();
      EXPECT_EQ(session.restarts, 1);
      EXPECT_EQ(session.server->phase(), Harness::kDone) << batch;
      EXPECT_THAT(session.sums, Not(IsEmpty())) << batch;
      EXPECT_EQ(session.BrokenInvariant(), "") << batch;
    }
  }
}

TEST(SecAggRestoreTest, A26EveryDeathIsSurvived) {
  ExpectEveryDeathSurvived(Stage::kNever, Stage::kNever);
}

TEST(SecAggRestoreTest, A26EveryDeathIsSurvivedWithEarlyDrops) {
  ExpectEveryDeathSurvived(Stage::kR2, Stage::kR3);
}

TEST(SecAggRestoreTest, A26EveryDeathIsSurvivedWithLateDrops) {
  ExpectEveryDeathSurvived(Stage::kR4, Stage::kR5);
}

// From the freeze on only the same survivor set may be finished, although the
// member that was left out has answered by now.
TEST(SecAggRestoreTest, A26AFrozenSetStaysFrozen) {
  Harness session(FleetOfSeven(), Seven());
  Message held;
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != 3 || !message.has_input()) return true;
    held = message;
    return false;
  };
  session.Begin();
  while (session.server->phase() < Phase::kSurvivors) session.Step();
  session.Restart();
  session.Inject(3, held);
  session.Drain();
  EXPECT_TRUE(session.Committed());
  EXPECT_GE(session.late, 1);
  EXPECT_FALSE(session.server->survivors()[3]);
  EXPECT_EQ(session.BrokenInvariant(), "");
}

// Runs until all but the last have answered R5, and dies.
void DieInUnmask(Harness& session, std::vector<Message>& answers) {
  session.keep_clients = true;
  answers.resize(7);
  bool restarted = false;
  session.to_server = [&](uint32_t index, Message& message) {
    if (message.has_unmask()) answers[index] = message;
    return !message.has_unmask() || index != 6 || restarted;
  };
  session.Begin();
  while (session.server->phase() < Phase::kUnmask ||
         session.server->Awaits(5)) {
    session.Step();
  }
  restarted = true;
  session.to_server = [](uint32_t, Message& m) { return !m.has_unmask(); };
  session.Restart();
}

TEST(SecAggRestoreTest, A26AnswersToR5AreAskedForAgain) {
  Harness session(FleetOfSeven(), Seven());
  std::vector<Message> answers;
  DieInUnmask(session, answers);
  EXPECT_EQ(session.server->phase(), Phase::kUnmask);
  for (uint32_t v = 0; v < 7; ++v) EXPECT_TRUE(session.server->Awaits(v));
  for (uint32_t v = 0; v < 7; ++v) session.Inject(v, answers[v]);
  EXPECT_TRUE(session.Committed());
  EXPECT_EQ(session.BrokenInvariant(), "");
}

TEST(SecAggRestoreTest, A26AnotherAnswerToR5IsStillRefused) {
  Harness session(FleetOfSeven(), Seven());
  std::vector<Message> answers;
  DieInUnmask(session, answers);
  Message other = answers[2];
  Flip(*other.mutable_unmask()->mutable_b_shares(0)->mutable_share());
  SignMessage(session, 2, other);
  session.Inject(2, other);
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].code, v1::REPLAY);
  EXPECT_TRUE(session.server->Awaits(2));
  session.Inject(2, answers[2]);
  EXPECT_FALSE(session.server->Awaits(2));
}

TEST(SecAggRestoreTest, I5NoRecordHoldsAShare) {
  Harness session(FleetOfSeven(), Seven());
  std::vector<std::string> shares;
  session.clients[2].stop = Stage::kR3;
  session.to_server = [&](uint32_t, Message& message) {
    for (const auto& s : message.unmask().b_shares()) {
      shares.push_back(s.share());
    }
    for (const auto& s : message.unmask().s_shares()) {
      shares.push_back(s.share());
    }
    return true;
  };
  session.Run();
  ASSERT_THAT(shares, SizeIs(6 * 7));
  for (const Record& record : Flat(session.batches)) {
    for (const std::string& share : shares) {
      EXPECT_EQ(record.bytes.find(share), std::string::npos);
    }
  }
}

TEST(SecAggRestoreTest, AMemberThatLeftIsNotWaitedFor) {
  Harness session(FleetOfSeven(), Seven());
  session.to_server = [](uint32_t index, Message& message) {
    if (index == 4 && message.has_ack()) message.set_abort(v1::LENGTH);
    return true;
  };
  session.Begin();
  while (session.left.empty()) session.Step();
  session.Restart();
  EXPECT_FALSE(session.server->Awaits(4));
  session.Drain();
  EXPECT_TRUE(session.Committed());
}

TEST(SecAggRestoreTest, A28AnUploadDamagedBeforeTheFreezeIsADropout) {
  Harness session(FleetOfSeven(), Seven());
  session.Begin();
  while (session.batches.back().back().phase != Phase::kInput ||
         session.batches.back().back().kind != Record::Kind::kMessage) {
    session.Step();
  }
  Message message;
  ASSERT_TRUE(message.ParseFromString(session.batches.back().back().bytes));
  session.blobs[message.input().digest()].pop_back();
  session.Restart();
  session.Drain();
  ASSERT_TRUE(session.Committed());
  EXPECT_EQ(std::ranges::count(session.server->survivors(), false), 1);
  EXPECT_EQ(session.BrokenInvariant(), "");
}

// The freeze left out an unusable upload; its record still stands before it.
TEST(SecAggRestoreTest, A28TheFreezeThatLeftAnUploadOutIsRestored) {
  Harness session(FleetOfSeven(), Seven());
  session.upload = [](uint32_t index, std::string& bytes) {
    if (index == 1) bytes.pop_back();
  };
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != 1 || !message.has_input()) return true;
    message.mutable_input()->set_digest(Sha256Bytes("lost"));
    SignMessage(session, index, message);
    return true;
  };
  session.Begin();
  while (session.server->phase() < Phase::kSurvivors) session.Step();
  session.Restart();
  session.Drain();
  ASSERT_TRUE(session.Committed());
  EXPECT_FALSE(session.server->survivors()[1]);
}

TEST(SecAggRestoreTest, A28AnUploadDamagedAfterTheFreezeEndsTheSession) {
  Harness session(FleetOfSeven(), Seven());
  session.Begin();
  while (session.server->phase() < Phase::kSurvivors) session.Step();
  session.blobs.begin()->second.pop_back();
  session.Restart();
  session.Drain();
  EXPECT_EQ(session.code(), v1::INTERNAL);
  EXPECT_THAT(session.sums, IsEmpty());
}

TEST(SecAggRestoreTest, AnEndedSessionStaysEnded) {
  Harness done(FleetOfSeven(), Seven());
  done.Run();
  SecAggServer::Actions actions;
  auto restored = Restored(done, Flat(done.batches), actions);
  ASSERT_TRUE(restored.ok());
  EXPECT_EQ(restored->phase(), Phase::kDone);
  EXPECT_THAT(actions, IsEmpty());
  EXPECT_EQ(restored->Receipt().SerializeAsString(),
            done.server->Receipt().SerializeAsString());

  Harness aborted(FleetOfSeven(), Seven());
  for (const int i : {0, 1, 2}) aborted.clients[i].stop = Stage::kR3;
  aborted.Run();
  restored = Restored(aborted, Flat(aborted.batches), actions);
  ASSERT_TRUE(restored.ok());
  EXPECT_EQ(restored->abort_code(), v1::NOT_ENOUGH);
  EXPECT_THAT(actions, IsEmpty());
}

// Every prefix, not only whole batches, is something that Restore accepts or
// refuses with a status; it makes the same of it every time.
TEST(SecAggRestoreTest, EveryPrefixIsRestoredTheSame) {
  Harness session(FleetOfSeven(), Seven());
  session.clients[2].stop = Stage::kR3;
  session.Run();
  const std::vector<Record> all = Flat(session.batches);
  for (size_t length = 1; length <= all.size(); ++length) {
    const std::vector<Record> prefix(all.begin(), all.begin() + length);
    SecAggServer::Actions one, two;
    ASSERT_TRUE(Restored(session, prefix, one).ok()) << length;
    ASSERT_TRUE(Restored(session, prefix, two).ok());
    ASSERT_EQ(one.size(), two.size());
    for (size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(one[i].kind, two[i].kind);
      if (one[i].kind != Kind::kSend) continue;
      EXPECT_EQ(one[i].message->SerializeAsString(),
                two[i].message->SerializeAsString());
    }
  }
}

}  // namespace
}  // namespace edgetune::secagg
