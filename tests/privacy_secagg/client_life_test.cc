// What SecAggClient's shell relies on: the order of its actions, and what they
// hold. Which message does what in which phase: client_table_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using Body = v1::SecAggClientMessage;
using ClientKind = SecAggClient::Action::Kind;

std::vector<ClientKind> Kinds(const SecAggClient::Actions& actions) {
  std::vector<ClientKind> kinds;
  for (const auto& action : actions) kinds.push_back(action.kind);
  return kinds;
}

TEST(SecAggClientLifeTest, ItIsSpentBeforeTheFirstByteLeaves) {
  Harness session(FleetOfFive(), Five());
  RunUntil(Body::kAck, session);
  EXPECT_FALSE(session.clients[kVictim].party->spent());
  v1::SecAggServerMessage open;
  open.mutable_open()->set_session(
      BytesOf(session.clients[kVictim].party->session()));
  const auto actions = session.Tell(kVictim, open);
  EXPECT_THAT(Kinds(actions),
              ElementsAre(ClientKind::kSpend, ClientKind::kUpload));
  EXPECT_EQ(actions[0].session, session.server->session());
  EXPECT_TRUE(session.clients[kVictim].party->spent());
}

TEST(SecAggClientLifeTest, ASurvivorSetIsRememberedBeforeItIsSigned) {
  Harness session(FleetOfFive(), Five());
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index != kVictim || !message.has_freeze()) return true;
    const auto actions = session.Tell(kVictim, message);
    EXPECT_THAT(Kinds(actions),
                ElementsAre(ClientKind::kRemember, ClientKind::kSend));
    v1::SignedStatement document;
    EXPECT_TRUE(document.ParseFromString(actions[0].document));
    EXPECT_TRUE(session.fleet.round_key.public_key().Verify(
        document.statement(), document.signature()));
    return true;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

TEST(SecAggClientLifeTest, TheReasonOfAFailureStaysInTheDevicesOwnLog) {
  Harness session(FleetOfFive(), Five());
  RunUntil(Body::kShares, session);
  const auto actions =
      session.clients[kVictim].party->Fail(v1::DEADLINE, "nobody answers");
  ASSERT_THAT(Kinds(actions),
              ElementsAre(ClientKind::kSend, ClientKind::kAborted));
  Body told;
  told.set_abort(v1::DEADLINE);
  EXPECT_EQ(actions[0].message.SerializeAsString(), told.SerializeAsString());
  EXPECT_EQ(actions[1].detail, "DEADLINE: nobody answers");
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

}  // namespace
}  // namespace edgetune::secagg
