// A coordinator that says something else about a step that was taken: nothing
// more is shown to it, and what it signed is kept as evidence.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Body = v1::SecAggClientMessage;

// Runs until `when` leaves the victim, then tells it `message(...)` as well.
Fate FateWithSecond(Body::BodyCase when,
                    const std::function<v1::SecAggServerMessage(
                        const v1::SecAggServerMessage&)>& second) {
  Harness session(FleetOfFive(), Five());
  v1::SecAggServerMessage last;
  std::optional<SecAggClient::Actions> answer;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) last = message;
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index == kVictim && message.body_case() == when && !answer) {
      answer = session.Tell(kVictim, second(last));
      return false;
    }
    return true;
  };
  session.Run();
  Fate fate;
  for (const SecAggClient::Action& action : *answer) {
    if (action.kind == SecAggClient::Action::Kind::kAborted) {
      fate.code = action.code;
    } else if (action.kind == SecAggClient::Action::Kind::kEvidence) {
      fate.evidence.emplace_back().ParseFromString(action.document);
    } else {
      fate.sent.insert(action.message.body_case());
    }
  }
  return fate;
}

v1::SecAggServerMessage SecondFreeze(const v1::SecAggServerMessage& first) {
  v1::SecAggServerMessage message = first;
  message.mutable_freeze()->set_u3(std::string(1, '\x0f'));
  SignSet(*message.mutable_freeze());
  return message;
}

TEST(SecAggClientTest, A9ASecondSurvivorSetIsEquivocationWithEvidence) {
  const Fate fate = FateWithSecond(Body::kSurvivors, SecondFreeze);
  EXPECT_EQ(fate.code, v1::U3_EQUIVOCATION);
  EXPECT_THAT(fate.sent, ElementsAre(Body::kAbort));
  ASSERT_THAT(fate.evidence, SizeIs(1));
  ASSERT_EQ(fate.evidence[0].statements_size(), 2);
  EXPECT_NE(fate.evidence[0].statements(0).statement(),
            fate.evidence[0].statements(1).statement());
  for (const v1::SignedStatement& s : fate.evidence[0].statements()) {
    EXPECT_TRUE(RoundKey().Verify(s.statement(), s.signature()));
  }
}

TEST(SecAggClientTest, A9ASecondSurvivorSetNobodySignedIsNoEvidence) {
  const Fate fate = FateWithSecond(Body::kSurvivors, [](const auto& first) {
    v1::SecAggServerMessage message = SecondFreeze(first);
    Flip(*message.mutable_freeze()->mutable_signature());
    return message;
  });
  EXPECT_EQ(fate.code, v1::BAD_SIGNATURE);
  EXPECT_THAT(fate.evidence, IsEmpty());
}

TEST(SecAggClientTest, A9ASecondU2IsEvidence) {
  const Fate fate = FateWithSecond(Body::kAck, [](const auto& first) {
    v1::SecAggServerMessage message = first;
    message.mutable_shares()->set_u2(std::string(1, '\x0f'));
    message.mutable_shares()->mutable_shares()->RemoveLast();
    SignSet(*message.mutable_shares());
    return message;
  });
  EXPECT_EQ(fate.code, v1::REPLAY);
  EXPECT_THAT(fate.evidence, SizeIs(1));
}

// The same set with other contents contradicts nothing that was signed.
TEST(SecAggClientTest, A9OtherSharesUnderOneU2AreAReplay) {
  const Fate fate = FateWithSecond(Body::kAck, [](const auto& first) {
    v1::SecAggServerMessage message = first;
    Flip(*message.mutable_shares()->mutable_shares(0)->mutable_ciphertext());
    return message;
  });
  EXPECT_EQ(fate.code, v1::REPLAY);
  EXPECT_THAT(fate.evidence, IsEmpty());
}

TEST(SecAggClientTest, A9AnotherCohortIsAReplay) {
  const Fate fate = FateWithSecond(Body::kShares, [](const auto& first) {
    v1::SecAggServerMessage message = first;
    message.mutable_cohort()->mutable_entries(0)->set_enrolled_ms(1);
    return message;
  });
  EXPECT_EQ(fate.code, v1::REPLAY);
}

TEST(SecAggClientTest, A9AnotherUnmaskRequestIsAReplay) {
  const Fate fate = FateWithSecond(Body::kUnmask, [](const auto& first) {
    v1::SecAggServerMessage message = first;
    message.mutable_unmask()->mutable_signatures()->RemoveLast();
    return message;
  });
  EXPECT_EQ(fate.code, v1::REPLAY);
  EXPECT_THAT(fate.sent, ElementsAre(Body::kAbort));
}

TEST(SecAggClientTest, A9AnotherSurvivorSetAfterUnmaskingIsEquivocation) {
  const Fate fate = FateWithSecond(Body::kUnmask, [](const auto& unmask) {
    v1::SecAggServerMessage message;
    message.mutable_freeze()->set_session(unmask.unmask().session());
    return SecondFreeze(message);
  });
  EXPECT_EQ(fate.code, v1::U3_EQUIVOCATION);
  EXPECT_THAT(fate.evidence, SizeIs(1));
}

}  // namespace
}  // namespace edgetune::secagg
