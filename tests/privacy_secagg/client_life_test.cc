// The life of SecAggClient beside the protocol: repeated messages, the order of
// its actions, aborts in every phase.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Body = v1::SecAggClientMessage;
using Kind = SecAggClient::Action::Kind;
using Phase = SecAggClient::Phase;

std::vector<Kind> Kinds(const SecAggClient::Actions& actions) {
  std::vector<Kind> kinds;
  for (const auto& action : actions) kinds.push_back(action.kind);
  return kinds;
}

// Calls `probe` each time the victim has just sent something, with what it was
// told before and what it sends; it gets each phase from Advertised on.
void AtEachPhase(
    const std::function<void(Harness&, const v1::SecAggServerMessage&,
                             const v1::SecAggClientMessage&)>& probe) {
  Harness session(FleetOfFive(), Five());
  v1::SecAggServerMessage last;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) last = message;
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index == kVictim) probe(session, last, message);
    return true;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

constexpr Body::BodyCase kBodies[] = {Body::kShares, Body::kAck, Body::kInput,
                                      Body::kSurvivors, Body::kUnmask};

TEST(SecAggClientLifeTest, TheSameMessageGetsTheSameAnswerInEveryPhase) {
  int phases = 0;
  AtEachPhase([&](Harness& session, const auto& told, const auto& sent) {
    const auto again = session.Tell(kVictim, told);
    ASSERT_THAT(again, SizeIs(1));
    ++phases;
    if (sent.has_input()) {
      EXPECT_EQ(again[0].kind, Kind::kUpload);
      EXPECT_EQ(Sha256Bytes(again[0].masked), sent.input().digest());
      return;
    }
    EXPECT_EQ(again[0].kind, Kind::kSend);
    EXPECT_EQ(again[0].message.SerializeAsString(), sent.SerializeAsString());
  });
  EXPECT_EQ(phases, 5);
}

TEST(SecAggClientLifeTest, ANewStreamGetsTheLastAnswerInEveryPhase) {
  int phases = 0;
  AtEachPhase([&](Harness& session, const auto&, const auto& sent) {
    const auto again = session.clients[kVictim].party->Resend();
    ASSERT_THAT(Kinds(again), ElementsAre(Kind::kSend));
    EXPECT_EQ(again[0].message.SerializeAsString(), sent.SerializeAsString());
    ++phases;
  });
  EXPECT_EQ(phases, 5);
}

TEST(SecAggClientLifeTest, NothingIsResentWhileTheVectorIsStillLeaving) {
  Harness session(FleetOfFive(), Five());
  session.upload = [&](uint32_t index, std::string&) {
    if (index != kVictim) return;
    EXPECT_EQ(session.clients[kVictim].party->phase(), Phase::kMasked);
    EXPECT_THAT(session.clients[kVictim].party->Resend(), IsEmpty());
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

// An old message that comes once more after R5 gets nothing: only the answer
// to R5 is left.
TEST(SecAggClientLifeTest, AfterUnmaskingOnlyItsAnswerIsRepeated) {
  Harness session(FleetOfFive(), Five());
  std::vector<v1::SecAggServerMessage> told;
  std::vector<size_t> answers;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) told.push_back(message);
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index != kVictim || !message.has_unmask()) return true;
    for (const auto& old : told) {
      answers.push_back(session.Tell(kVictim, old).size());
    }
    return true;
  };
  session.Run();
  EXPECT_THAT(answers, ElementsAre(0, 0, 0, 0, 1));
}

TEST(SecAggClientLifeTest, ItIsSpentBeforeTheFirstByteLeaves) {
  Harness session(FleetOfFive(), Five());
  RunUntil(Body::kAck, session);
  EXPECT_FALSE(session.clients[kVictim].party->spent());
  v1::SecAggServerMessage open;
  open.mutable_open()->set_session(
      BytesOf(session.clients[kVictim].party->session()));
  const auto actions = session.Tell(kVictim, open);
  EXPECT_THAT(Kinds(actions), ElementsAre(Kind::kSpend, Kind::kUpload));
  EXPECT_EQ(actions[0].session, session.server->session());
  EXPECT_TRUE(session.clients[kVictim].party->spent());
}

TEST(SecAggClientLifeTest, ASurvivorSetIsRememberedBeforeItIsSigned) {
  Harness session(FleetOfFive(), Five());
  v1::SecAggServerMessage freeze;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index != kVictim || !message.has_freeze()) return true;
    const auto actions = session.Tell(kVictim, message);
    EXPECT_THAT(Kinds(actions), ElementsAre(Kind::kRemember, Kind::kSend));
    v1::SignedStatement document;
    EXPECT_TRUE(document.ParseFromString(actions[0].document));
    EXPECT_TRUE(session.fleet.round_key.public_key().Verify(
        document.statement(), document.signature()));
    return true;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

v1::SecAggServerMessage EmptyOfStep(int step) {
  v1::SecAggServerMessage message;
  if (step == 0) message.mutable_cohort();
  if (step == 1) message.mutable_shares();
  if (step == 2) message.mutable_open();
  if (step == 3) message.mutable_freeze();
  if (step == 4) message.mutable_unmask();
  return message;
}

TEST(SecAggClientLifeTest, AMessageBeforeItsTimeIsAReplay) {
  for (int sent = 0; sent < 4; ++sent) {
    // The victim waits for step `sent` + 1.
    for (int step = sent + 2; step < 5; ++step) {
      Harness session(FleetOfFive(), Five());
      RunUntil(kBodies[sent], session);
      const auto actions = session.Tell(kVictim, EmptyOfStep(step));
      ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kSend, Kind::kAborted));
      EXPECT_EQ(actions[0].message.abort(), v1::REPLAY);
      EXPECT_EQ(actions[1].code, v1::REPLAY);
    }
  }
}

TEST(SecAggClientLifeTest, AFreezeBeforeTheVectorLeftIsAReplay) {
  Harness session(FleetOfFive(), Five());
  std::optional<SecAggClient::Actions> answer;
  session.upload = [&](uint32_t index, std::string&) {
    if (index == kVictim) answer = session.Tell(kVictim, EmptyOfStep(3));
  };
  session.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->back().code, v1::REPLAY);
}

TEST(SecAggClientLifeTest, AMessageOfAnUnknownKindIsALengthError) {
  Harness session(FleetOfFive(), Five());
  RunUntil(Body::kShares, session);
  const auto actions = session.Tell(kVictim, {});
  EXPECT_EQ(actions.back().code, v1::LENGTH);
}

TEST(SecAggClientLifeTest, TheCoordinatorsAbortEndsEveryPhaseQuietly) {
  for (const Body::BodyCase body : kBodies) {
    Harness session(FleetOfFive(), Five());
    RunUntil(body, session);
    // The coordinator ended it while the victim waited.
    v1::SecAggServerMessage abort;
    abort.set_abort(v1::BAD_SHARE);
    SecAggClient& party = *session.clients[kVictim].party;
    const auto actions = session.Tell(kVictim, abort);
    ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kAborted));
    EXPECT_EQ(actions[0].code, v1::BAD_SHARE);
    EXPECT_EQ(party.phase(), Phase::kAborted);
    EXPECT_THAT(session.Tell(kVictim, abort), IsEmpty());
    EXPECT_THAT(party.Resend(), IsEmpty());
    EXPECT_THAT(party.Fail(v1::DEADLINE, ""), IsEmpty());
  }
}

TEST(SecAggClientLifeTest, AnUnknownAbortCodeIsALengthError) {
  for (const int code : {0, 21, -1, 1 << 30}) {
    Harness session(FleetOfFive(), Five());
    RunUntil(Body::kShares, session);
    v1::SecAggServerMessage abort;
    abort.set_abort(static_cast<v1::AbortCode>(code));
    EXPECT_EQ(session.Tell(kVictim, abort).back().code, v1::LENGTH);
  }
}

TEST(SecAggClientLifeTest, TheShellCanLeaveInEveryPhase) {
  AtEachPhase([&](Harness&, const auto&, const auto& sent) {
    Harness session(FleetOfFive(), Five());
    RunUntil(sent.body_case(), session);
    SecAggClient& party = *session.clients[kVictim].party;
    const auto actions = party.Fail(v1::DEADLINE, "nobody answers");
    ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kSend, Kind::kAborted));
    EXPECT_EQ(actions[0].message.abort(), v1::DEADLINE);
    EXPECT_EQ(actions[1].detail, "DEADLINE: nobody answers");
    EXPECT_EQ(party.phase(), Phase::kAborted);
    EXPECT_THAT(party.Uploaded(), IsEmpty());
  });
}

TEST(SecAggClientLifeTest, AClientThatEndedOrNeverBeganIsSilent) {
  Harness session(FleetOfFive(), Five());
  SecAggClient& fresh = *session.clients[0].party;
  EXPECT_THAT(fresh.Handle(EmptyOfStep(0)), IsEmpty());
  EXPECT_THAT(fresh.Resend(), IsEmpty());
  session.Run();
  EXPECT_EQ(fresh.phase(), Phase::kDone);
  EXPECT_THAT(fresh.Handle(EmptyOfStep(4)), IsEmpty());
  EXPECT_THAT(fresh.Resend(), IsEmpty());
}

}  // namespace
}  // namespace edgetune::secagg
