// The real coordinator: uploads, and the rest of its interface.

#include "privacy/secagg/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"
#include "tests/privacy_secagg/fleet_of_size.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using Message = v1::SecAggClientMessage;
using Kind = SecAggServer::Action::Kind;
using Phase = SecAggServer::Phase;

TEST(SecAggServerTest, ADamagedUploadMakesADropoutBeforeTheFreeze) {
  Harness session(FleetOfFive(), Five());
  session.upload = [](uint32_t index, std::string& bytes) {
    if (index == kVictim) Flip(bytes);
  };
  session.Run();
  ASSERT_TRUE(session.Committed());
  EXPECT_FALSE(session.server->survivors()[kVictim]);
  EXPECT_EQ(session.BrokenInvariant(), "");
}

TEST(SecAggServerTest, ADamagedUploadEndsTheSessionAfterTheFreeze) {
  Harness session(FleetOfFive(), Five());
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim && message.has_freeze()) {
      session.Perform(session.server->Unusable(kVictim, session.now));
    }
    return true;
  };
  session.Run();
  EXPECT_EQ(session.code(), v1::INTERNAL);
  EXPECT_THAT(session.sums, IsEmpty());
}

// Replaces the victim's vector by this one, which it signs.
void UploadInstead(const std::function<void(std::string&)>& change,
                   Harness& session) {
  auto digest = std::make_shared<std::string>();
  session.upload = [=](uint32_t index, std::string& bytes) {
    if (index != kVictim) return;
    change(bytes);
    *digest = Sha256Bytes(bytes);
  };
  session.to_server = [=, &session](uint32_t index, Message& message) {
    if (index != kVictim || !message.has_input()) return true;
    message.mutable_input()->set_digest(*digest);
    SignMessage(session, index, message);
    return true;
  };
}

TEST(SecAggServerTest, AVectorWithPaddingBitsSetMakesADropout) {
  Harness::Options options = Five();
  options.shape.coordinates = 5;
  ASSERT_NE(options.shape.size() * options.shape.bits % 8, 0u);
  // In any order of arrival, the last included.
  for (options.seed = 1; options.seed <= 20; ++options.seed) {
    Harness session(FleetOfFive(), options);
    UploadInstead([](std::string& bytes) { bytes.back() |= '\x80'; }, session);
    session.Run();
    ASSERT_TRUE(session.Committed()) << options.seed;
    EXPECT_FALSE(session.server->survivors()[kVictim]);
  }
}

TEST(SecAggServerTest, AMemberCanSpoilTheSumButNotUnseen) {
  Harness session(FleetOfFive(), Five());
  UploadInstead([](std::string& bytes) { Flip(bytes); }, session);
  session.Run();
  EXPECT_TRUE(session.mismatch);
  EXPECT_EQ(session.code(), v1::MASK_MISMATCH);
  EXPECT_THAT(session.sums, IsEmpty());
}

TEST(SecAggServerTest, ACohortThatCannotBeIsRefused) {
  const auto begins =
      [](const std::function<void(std::vector<v1::CohortEntry>&)>& change) {
        Harness session(FleetOfFive(), Five());
        session.cohort_made = change;
        session.Begin();
        return session.server.has_value();
      };
  EXPECT_TRUE(begins([](auto&) {}));
  EXPECT_FALSE(begins([](auto& cohort) { std::swap(cohort[0], cohort[1]); }));
  EXPECT_FALSE(begins([](auto& cohort) { cohort[0] = cohort[1]; }));
  EXPECT_FALSE(begins([](auto& cohort) { cohort.resize(3); }));
  EXPECT_FALSE(begins([](auto& cohort) { cohort.push_back(cohort[0]); }));
  EXPECT_FALSE(begins([](auto& c) { c[2].mutable_client_id()->pop_back(); }));
  EXPECT_FALSE(begins([](auto& c) { c[2].mutable_c_pk()->pop_back(); }));
  EXPECT_FALSE(begins([](auto& c) { c[2].mutable_s_pk()->push_back(0); }));
  EXPECT_FALSE(begins([](auto& c) { c[2].clear_identity_key(); }));
}

TEST(SecAggServerTest, MembersAreFoundByTheirId) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(session.server->IndexOf(session.fleet.members[i].id), i);
    EXPECT_TRUE(session.server->Awaits(i));
  }
  EXPECT_FALSE(session.server->Awaits(5));
  EXPECT_EQ(session.server->IndexOf(ClientId{}), std::nullopt);
  ClientId last;
  last.fill(0xFF);
  EXPECT_EQ(session.server->IndexOf(last), std::nullopt);
}

TEST(SecAggServerTest, AReceiptShowsThatTheSurvivorsSignedOneSet) {
  Harness session(FleetOf(10), Sized(10, 4, 8));
  session.clients[3].stop = Stage::kR3;
  session.clients[5].stop = Stage::kR4;
  session.Run();
  const v1::GroupReceipt receipt = session.server->Receipt();
  EXPECT_EQ(receipt.threshold(), 7u);
  EXPECT_THAT(receipt.cohort(), SizeIs(10));
  EXPECT_THAT(receipt.signatures(), SizeIs(8));
  const std::string statement =
      U3Bytes(session.server->session(), receipt.u2(), receipt.u3());
  for (const v1::IndexedSignature& entry : receipt.signatures()) {
    EXPECT_NE(entry.index(), 3u);
    EXPECT_TRUE(session.fleet.identities[entry.index()].public_key().Verify(
        statement, entry.signature()));
  }
  EXPECT_EQ(receipt.u2(), "\xff\x03");
  EXPECT_EQ(receipt.u3(), "\xf7\x03");
}

TEST(SecAggServerTest, PhasesHaveNamesAndDeadlinesInOrder) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  EXPECT_EQ(PhaseName(session.server->phase()), "shares");
  EXPECT_EQ(session.server->NextTimer(), session.now + absl::Seconds(20));
  session.Drain();
  EXPECT_EQ(PhaseName(session.server->phase()), "done");
  EXPECT_EQ(session.server->NextTimer(), absl::InfiniteFuture());
}

// What the caller cannot do any more ends the session in every phase.
TEST(SecAggServerTest, TheShellCanEndTheSessionOnce) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  session.Perform(session.server->Fail(v1::INTERNAL, "disk"));
  EXPECT_EQ(session.server->phase(), Phase::kAborted);
  EXPECT_EQ(session.code(), v1::INTERNAL);
  EXPECT_THAT(session.server->Fail(v1::REPLAY, ""), IsEmpty());
  EXPECT_THAT(session.server->Finished(), IsEmpty());
  session.Drain();
  for (const Harness::Client& client : session.clients) {
    EXPECT_EQ(client.aborted, v1::INTERNAL);
  }
}

// Nobody reads them, and they cost space.
TEST(SecAggServerTest, A17UnknownFieldsAreNotRecorded) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [](uint32_t, Message& message) {
    message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(
        999, "an unknown field");
    return true;
  };
  session.Run();
  ASSERT_TRUE(session.Committed());
  for (const auto& batch : session.batches) {
    for (const SecAggServer::Record& record : batch) {
      EXPECT_EQ(record.bytes.find("an unknown field"), std::string::npos);
    }
  }
}

// Also where a call folds an input and closes its phase with it.
TEST(SecAggServerTest, RowsComeBeforeWhatTheyAllow) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [&](uint32_t index, Message& message) {
    auto actions = session.server->Handle(index, message, session.now);
    bool effects = false;
    for (const auto& action : actions) {
      EXPECT_FALSE(effects && action.kind == Kind::kRecord);
      effects |= action.kind != Kind::kRecord;
    }
    session.Perform(std::move(actions));
    return false;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

}  // namespace
}  // namespace edgetune::secagg
