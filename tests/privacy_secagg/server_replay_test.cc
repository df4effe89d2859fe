// The real coordinator against members that contradict themselves, come late or
// leave.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using Message = v1::SecAggClientMessage;
using Kind = SecAggServer::Action::Kind;
using Phase = SecAggServer::Phase;

// The victim's message of this kind once more, changed and signed by itself.
SecAggServer::Actions SecondAnswer(Message::BodyCase kind,
                                   const std::function<void(Message&)>& change,
                                   Harness& session) {
  SecAggServer::Actions actions;
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != kVictim || message.body_case() != kind) return true;
    session.Inject(index, message);
    Message second = message;
    change(second);
    SignMessage(session, index, second);
    actions = session.server->Handle(index, second, session.now);
    return false;
  };
  session.Run();
  return actions;
}

struct Second {
  const char* name;
  Message::BodyCase kind;
  std::function<void(Message&)> change;
  friend std::ostream& operator<<(std::ostream& out, const Second& second) {
    return out << second.name;
  }
};
class SecAggReplayTest : public ::testing::TestWithParam<Second> {};

TEST_P(SecAggReplayTest, AnotherAnswerIsRefusedAndKeptAsEvidence) {
  Harness session(FleetOfFive(), Five());
  const auto actions =
      SecondAnswer(GetParam().kind, GetParam().change, session);
  ASSERT_THAT(actions, SizeIs(1));
  EXPECT_EQ(actions[0].kind, Kind::kRefuse);
  EXPECT_EQ(actions[0].code, v1::REPLAY);
  v1::Contradiction evidence;
  ASSERT_TRUE(evidence.ParseFromString(actions[0].document));
  ASSERT_EQ(evidence.statements_size(), 2);
  EXPECT_NE(evidence.statements(0).statement(),
            evidence.statements(1).statement());
  const PublicKey& key = session.fleet.identities[kVictim].public_key();
  for (const v1::SignedStatement& s : evidence.statements()) {
    EXPECT_TRUE(key.Verify(s.statement(), s.signature()));
    EXPECT_EQ(s.signer(), key.raw());
  }
  EXPECT_TRUE(session.Committed());
}

INSTANTIATE_TEST_SUITE_P(
    Phases, SecAggReplayTest,
    ::testing::Values(
        Second{"Shares", Message::kShares,
               [](Message& m) {
                 Flip(*m.mutable_shares()->mutable_ciphertexts(0));
               }},
        Second{"Ack", Message::kAck,
               [](Message& m) { m.mutable_ack()->add_bad(3); }},
        Second{"Input", Message::kInput,
               [](Message& m) { Flip(*m.mutable_input()->mutable_digest()); }}),
    [](const auto& info) { return info.param.name; });

// Two answers to R5 hold shares: they are refused, not kept.
TEST(SecAggServerTest, AnotherAnswerToR5IsRefusedWithoutADocument) {
  Harness session(FleetOfFive(), Five());
  const auto actions = SecondAnswer(
      Message::kUnmask,
      [](Message& m) {
        Flip(*m.mutable_unmask()->mutable_b_shares(0)->mutable_share());
      },
      session);
  ASSERT_THAT(actions, SizeIs(1));
  EXPECT_EQ(actions[0].code, v1::REPLAY);
  EXPECT_THAT(actions[0].document, IsEmpty());
}

TEST(SecAggServerTest, AnotherAnswerThatNobodySignedIsNoEvidence) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != kVictim || !message.has_shares()) return true;
    session.Inject(index, message);
    Flip(*message.mutable_shares()->mutable_ciphertexts(0));
    return true;
  };
  session.Run();
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].code, v1::BAD_SIGNATURE);
  EXPECT_THAT(session.refusals[0].document, IsEmpty());
}

// Asked twice for R2 while it waits for R2b: the shares once more; not after it
// has acknowledged them.
TEST(SecAggServerTest, TheSameAnswerAgainGetsWhatThePhaseSends) {
  Harness session(FleetOfFive(), Five());
  Message shares;
  v1::SecAggServerMessage sent;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) sent = message;
    return true;
  };
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != kVictim) return true;
    if (message.has_shares()) shares = message;
    if (!message.has_ack()) return true;
    const auto again = session.server->Handle(index, shares, session.now);
    EXPECT_THAT(again, SizeIs(1));
    EXPECT_EQ(again[0].message->SerializeAsString(), sent.SerializeAsString());
    EXPECT_EQ(session.server->Resend(index)[0].message, again[0].message);
    session.Inject(index, message);
    EXPECT_THAT(session.server->Handle(index, shares, session.now), IsEmpty());
    EXPECT_THAT(session.server->Resend(index), IsEmpty());
    return false;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

// Of five everybody but the victim has answered when the deadline passes.
TEST(SecAggServerTest, AnAnswerAfterItsPhaseIsTooLate) {
  for (const auto kind : {Message::kShares, Message::kAck, Message::kSurvivors,
                          Message::kUnmask}) {
    Harness session(FleetOfFive(), Five());
    Message held;
    session.to_server = [&](uint32_t index, Message& message) {
      if (index != kVictim || message.body_case() != kind) return true;
      held = message;
      return false;
    };
    session.Begin();
    const auto waits = [&](uint32_t v) { return session.server->Awaits(v); };
    while (held.body_case() != kind || waits(0) || waits(2) || waits(3) ||
           waits(4)) {
      session.Step();
    }
    session.now = session.server->NextTimer();
    session.Inject(kVictim, held);
    ASSERT_THAT(session.refusals, SizeIs(1)) << kind;
    EXPECT_EQ(session.refusals[0].code, v1::DEADLINE);
  }
}

TEST(SecAggServerTest, WhoWasNotAskedIsRefused) {
  Harness session(FleetOfFive(), Five());
  Message survivors;
  // Member 4 uploaded nothing; it signs U3 all the same.
  session.clients[4].stop = Stage::kR3;
  session.to_server = [&](uint32_t index, Message& message) {
    if (index == kVictim && message.has_survivors()) {
      session.Inject(4, message);
    }
    return true;
  };
  session.Run();
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].index, 4u);
  EXPECT_EQ(session.refusals[0].code, v1::REPLAY);
  EXPECT_TRUE(session.Committed());
}

TEST(SecAggServerTest, AMemberThatWasLostIsRefused) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [&](uint32_t index, Message& message) {
    if (index == kVictim && message.has_shares()) {
      session.Perform(session.server->Lost(kVictim, session.now));
    }
    return true;
  };
  session.Run();
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].code, v1::DEADLINE);
  ASSERT_TRUE(session.Committed());
  EXPECT_FALSE(session.server->survivors()[kVictim]);
}

TEST(SecAggServerTest, AMemberThatAbortsIsLostWithItsCode) {
  for (const auto kind : {Message::kShares, Message::kAck, Message::kInput,
                          Message::kSurvivors, Message::kUnmask}) {
    Harness session(FleetOfFive(), Five());
    session.to_server = [&](uint32_t index, Message& message) {
      if (index == kVictim && message.body_case() == kind) {
        message.set_abort(v1::SPENT);
      }
      return true;
    };
    session.Run();
    EXPECT_THAT(session.left, ElementsAre(Pair(kVictim, v1::SPENT)));
    ASSERT_TRUE(session.Committed()) << kind;
    EXPECT_EQ(session.server->survivors()[kVictim],
              kind == Message::kSurvivors || kind == Message::kUnmask);
    EXPECT_EQ(session.BrokenInvariant(), "");
  }
}

TEST(SecAggServerTest, AnUnknownAbortCodeOfAMemberIsALengthError) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  Message message;
  message.set_abort(static_cast<v1::AbortCode>(77));
  session.Inject(kVictim, message);
  session.Inject(kVictim, message);
  EXPECT_THAT(session.left, ElementsAre(Pair(kVictim, v1::LENGTH)));
}

// Whoever acknowledged nothing holds no shares: its vector is not asked for,
// and not taken.
TEST(SecAggServerTest, WhoDidNotAcknowledgeIsNotAskedForItsVector) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [](uint32_t index, Message& message) {
    return index != kVictim || !message.has_ack();
  };
  session.Begin();
  while (session.server->phase() < Phase::kInput) session.Step();
  EXPECT_FALSE(session.server->Awaits(kVictim));
  EXPECT_THAT(session.server->Resend(kVictim), IsEmpty());
  Message input;
  input.mutable_input()->set_session(BytesOf(session.server->session()));
  input.mutable_input()->set_total_length(session.options.shape.byte_size());
  input.mutable_input()->set_digest(std::string(32, 'd'));
  SignMessage(session, kVictim, input);
  session.Inject(kVictim, input);
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].code, v1::REPLAY);
  session.Drain();
  ASSERT_TRUE(session.Committed());
  EXPECT_FALSE(session.server->survivors()[kVictim]);
}

TEST(SecAggServerTest, WhoDidNotSignIsNotAskedForShares) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [](uint32_t index, Message& message) {
    return index != kVictim || !message.has_survivors();
  };
  session.Begin();
  while (session.server->phase() < Phase::kUnmask) session.Step();
  EXPECT_FALSE(session.server->Awaits(kVictim));
  EXPECT_THAT(session.server->Resend(kVictim), IsEmpty());
  session.Drain();
  ASSERT_TRUE(session.Committed());
  EXPECT_TRUE(session.server->survivors()[kVictim]);
}

TEST(SecAggServerTest, AnEndedSessionHearsNothing) {
  Harness session(FleetOfFive(), Five());
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_THAT(session.server->Handle(kVictim, Message(), session.now),
              IsEmpty());
  EXPECT_THAT(session.server->Resend(kVictim), IsEmpty());
}

// Five members, t = 4: with two gone nobody has to wait for the deadline.
TEST(SecAggServerTest, ASessionThatCannotSucceedEndsAtOnce) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  session.Perform(session.server->Lost(0, session.now));
  EXPECT_EQ(session.server->phase(), Phase::kShares);
  session.Perform(session.server->Lost(1, session.now));
  EXPECT_EQ(session.server->phase(), Phase::kAborted);
  EXPECT_EQ(session.code(), v1::NOT_ENOUGH);
}

}  // namespace
}  // namespace edgetune::secagg
