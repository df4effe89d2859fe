// R2b to R5: a coordinator that lies about who shared, who is in the sum and
// who signed it, over mutual TLS, against the real client.

#include <gmock/gmock.h>

#include "privacy/secagg/encoding.h"
#include "tests/secagg/lying_coordinator.h"

namespace edgetune {
namespace {

using ::testing::Contains;
using testing::kVictim;
using testing::LyingCoordinator;
using ::testing::Not;
using ::testing::SizeIs;
using Body = LyingCoordinator::Body;
using Pass = LyingCoordinator::Pass;

// Bitmaps of five members: bit i = member i.
std::vector<bool> Members(std::initializer_list<uint32_t> indices,
                          uint32_t n = 5) {
  std::vector<bool> members(n);
  for (const uint32_t index : indices) members[index] = true;
  return members;
}

struct SetLie {
  const char* name;
  v1::AbortCode code;
  std::function<void(LyingCoordinator&, v1::SecAggServerMessage&)> tell;
};

// Bends what the victim gets; other members get the truth.
void Bend(LyingCoordinator& world, const SetLie& lie) {
  world.to_member = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) lie.tell(world, message);
    return true;
  };
}

// Contradictions that the victim kept in its database.
std::vector<v1::Contradiction> EvidenceOf(testing::RealClient& client) {
  client.Stop();
  std::vector<v1::Contradiction> found;
  for (const Row& row : client.Rows("SELECT document FROM evidence")) {
    found.emplace_back().ParseFromString(std::get<Blob>(row[0]).bytes);
  }
  return found;
}

// Both statements of the evidence bear the coordinator's signature.
void ExpectProves(const v1::Contradiction& evidence, const PublicKey& key) {
  ASSERT_EQ(evidence.statements_size(), 2);
  EXPECT_NE(evidence.statements(0).statement(),
            evidence.statements(1).statement());
  for (const v1::SignedStatement& said : evidence.statements()) {
    EXPECT_TRUE(key.Verify(said.statement(), said.signature()));
  }
}

// --- R2b

class EvilSharersTest : public ::testing::TestWithParam<SetLie> {};

TEST_P(EvilSharersTest, A9LieAboutU2EndsTheSessionBeforeAnyInput) {
  LyingCoordinator world;
  Bend(world, GetParam());
  testing::RealClient& client = world.MakeClient();
  client.Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_EQ(fate.code, GetParam().code) << v1::AbortCode_Name(fate.code);
  EXPECT_THAT(fate.said, Not(Contains(Body::kInput)));
  client.Stop();
  EXPECT_THAT(client.Rows("SELECT * FROM spent"), SizeIs(0));
}

const SetLie kSharerLies[] = {
    {"WithoutUs", v1::U2_INVALID,
     [](LyingCoordinator& world, v1::SecAggServerMessage& m) {
       if (!m.has_shares()) return;
       world.SignU2(*m.mutable_shares(),
                    secagg::BitmapOf(Members({0, 2, 3, 4})));
     }},
    {"WithAMemberWhoseSharesAreMissing", v1::U2_INVALID,
     [](LyingCoordinator&, v1::SecAggServerMessage& m) {
       if (m.has_shares()) m.mutable_shares()->mutable_shares()->RemoveLast();
     }},
    {"BelowTheThreshold", v1::NOT_ENOUGH,
     [](LyingCoordinator& world, v1::SecAggServerMessage& m) {
       if (!m.has_shares()) return;
       m.mutable_shares()->mutable_shares()->DeleteSubrange(2, 2);
       world.SignU2(*m.mutable_shares(), secagg::BitmapOf(Members({0, 1, 2})));
     }},
    {"ThatNobodySigned", v1::BAD_SIGNATURE,
     [](LyingCoordinator&, v1::SecAggServerMessage& m) {
       if (m.has_shares())
         m.mutable_shares()->set_signature(std::string(64, 0));
     }},
    {"OfAnotherSession", v1::REPLAY,
     [](LyingCoordinator&, v1::SecAggServerMessage& m) {
       if (m.has_shares()) m.mutable_shares()->set_session(std::string(32, 0));
     }},
    {"WithACutShare", v1::LENGTH,
     [](LyingCoordinator&, v1::SecAggServerMessage& m) {
       if (!m.has_shares()) return;
       m.mutable_shares()->mutable_shares(0)->mutable_ciphertext()->pop_back();
     }},
    {"BeforeItsTime", v1::REPLAY,
     [](LyingCoordinator&, v1::SecAggServerMessage& m) {
       if (m.has_cohort()) m.mutable_open()->set_session(std::string(32, 0));
     }}};

INSTANTIATE_TEST_SUITE_P(A9, EvilSharersTest, ::testing::ValuesIn(kSharerLies),
                         [](const auto& info) { return info.param.name; });

// The victim cannot open one share, says so, and is asked for input all the
// same.
TEST(EvilSharersTest, A15AnIgnoredComplaintEndsTheSession) {
  LyingCoordinator world;
  const SetLie garbage{
      "", v1::BAD_SHARE, [](LyingCoordinator&, v1::SecAggServerMessage& m) {
        if (!m.has_shares()) return;
        *m.mutable_shares()->mutable_shares(0)->mutable_ciphertext() =
            std::string(92, 'x');
      }};
  Bend(world, garbage);
  int complaints = 0;
  world.to_server = [&](uint32_t index, Body& message) {
    if (index != kVictim || !message.has_ack()) return Pass::kOn;
    complaints = message.ack().bad_size();
    v1::SecAggServerMessage open;
    open.mutable_open()->set_session(DigestBytes(world.session()));
    world.Tell(kVictim, open);
    return Pass::kSwallow;
  };
  world.MakeClient().Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_EQ(complaints, 1);
  EXPECT_EQ(fate.code, v1::BAD_SHARE);
  EXPECT_THAT(fate.said, Not(Contains(Body::kInput)));
}

// --- R4

class EvilSurvivorsTest : public ::testing::TestWithParam<SetLie> {};

TEST_P(EvilSurvivorsTest, A9LieAboutU3EndsTheSessionWithoutASignature) {
  LyingCoordinator world;
  // Member 4 shares nothing: U2 is 0 to 3, and t of five is 4.
  world.to_server = [](uint32_t index, Body& message) {
    return index == 4 && message.has_shares() ? Pass::kLose : Pass::kOn;
  };
  Bend(world, GetParam());
  testing::RealClient& client = world.MakeClient();
  client.Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_EQ(fate.code, GetParam().code) << v1::AbortCode_Name(fate.code);
  EXPECT_THAT(fate.said, Not(Contains(Body::kSurvivors)));
  const auto evidence = EvidenceOf(client);
  EXPECT_THAT(evidence, SizeIs(GetParam().code == v1::U3_INVALID ? 1 : 0));
  for (const auto& proof : evidence) {
    ExpectProves(proof, world.fleet.keys.round.public_key());
  }
}

const SetLie kSurvivorLies[] = {
    {"WithoutUs", v1::U3_INVALID,
     [](LyingCoordinator& world, v1::SecAggServerMessage& m) {
       if (m.has_freeze()) {
         world.SignFreeze(*m.mutable_freeze(), Members({0, 2, 3}));
       }
     }},
    {"NotASubsetOfU2", v1::U3_INVALID,
     [](LyingCoordinator& world, v1::SecAggServerMessage& m) {
       if (m.has_freeze()) {
         world.SignFreeze(*m.mutable_freeze(), Members({0, 1, 2, 3, 4}));
       }
     }},
    {"BelowTheThreshold", v1::U3_INVALID,
     [](LyingCoordinator& world, v1::SecAggServerMessage& m) {
       if (m.has_freeze()) {
         world.SignFreeze(*m.mutable_freeze(), Members({0, 1, 2}));
       }
     }},
    {"ThatNobodySigned", v1::BAD_SIGNATURE,
     [](LyingCoordinator&, v1::SecAggServerMessage& m) {
       if (m.has_freeze())
         m.mutable_freeze()->set_signature(std::string(64, 0));
     }},
    {"WithPaddingBits", v1::LENGTH,
     [](LyingCoordinator& world, v1::SecAggServerMessage& m) {
       if (m.has_freeze()) {
         world.SignFreeze(*m.mutable_freeze(), Members({0, 1, 2, 3, 7}, 8));
       }
     }}};

INSTANTIATE_TEST_SUITE_P(A9, EvilSurvivorsTest,
                         ::testing::ValuesIn(kSurvivorLies),
                         [](const auto& info) { return info.param.name; });

TEST(EvilSurvivorsTest, A9ASecondU3IsRefusedAndKeptAsEvidence) {
  LyingCoordinator world;
  world.to_server = [&](uint32_t index, Body& message) {
    if (index == kVictim && message.has_survivors()) {
      v1::SecAggServerMessage second;
      world.SignFreeze(*second.mutable_freeze(), Members({0, 1, 2, 3}));
      world.Tell(kVictim, second);
    }
    return Pass::kOn;
  };
  testing::RealClient& client = world.MakeClient();
  client.Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_EQ(fate.code, v1::U3_EQUIVOCATION);
  EXPECT_THAT(fate.said, Not(Contains(Body::kUnmask)));
  const auto evidence = EvidenceOf(client);
  ASSERT_THAT(evidence, SizeIs(1));
  ExpectProves(evidence[0], world.fleet.keys.round.public_key());
  EXPECT_THAT(client.Rows("SELECT * FROM signed_sets"), SizeIs(1));
}

// Asked for its vector again while it sends it, as after a broken stream.
TEST(EvilSurvivorsTest, AnOpenThatComesTwiceChangesNothing) {
  LyingCoordinator world;
  world.to_member = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim && message.has_open()) {
      for (int i = 0; i < 20; ++i) world.Tell(kVictim, message);
    }
    return true;
  };
  world.MakeClient().Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_TRUE(fate.committed);
  EXPECT_EQ(fate.code, v1::ABORT_UNSPECIFIED);
}

// What the coordinator says of an attempt before is not taken for this one.
TEST(EvilSurvivorsTest, AMessageOfAnotherAttemptChangesNothing) {
  LyingCoordinator world;
  world.to_server = [&](uint32_t index, Body& message) {
    if (index == kVictim && message.has_ack()) {
      v1::SessionKey other = world.key();
      other.set_attempt(other.attempt() + 1);
      v1::SecAggServerMessage freeze;
      world.SignFreeze(*freeze.mutable_freeze(), Members({0, 1, 2, 3}));
      world.SendAs(other, freeze);
    }
    return Pass::kOn;
  };
  world.MakeClient().Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_TRUE(fate.committed);
  EXPECT_EQ(fate.code, v1::ABORT_UNSPECIFIED);
}

// --- R5

// Replaces the signatures that the victim is shown.
LyingCoordinator::Fate FateWithSignatures(
    const std::function<void(LyingCoordinator&, v1::UnmaskRequest&)>& change) {
  LyingCoordinator world;
  const SetLie lie{"", v1::TOO_FEW_SIGS,
                   [&](LyingCoordinator& liar, v1::SecAggServerMessage& m) {
                     if (m.has_unmask()) change(liar, *m.mutable_unmask());
                   }};
  Bend(world, lie);
  world.MakeClient().Start();
  return world.Play();
}

void ExpectKeptItsShares(const LyingCoordinator::Fate& fate) {
  EXPECT_EQ(fate.code, v1::TOO_FEW_SIGS) << v1::AbortCode_Name(fate.code);
  EXPECT_THAT(fate.said, Not(Contains(Body::kUnmask)));
}

TEST(EvilSignaturesTest, A9FewerThanTheThresholdShowNothing) {
  ExpectKeptItsShares(
      FateWithSignatures([](LyingCoordinator&, v1::UnmaskRequest& request) {
        request.mutable_signatures()->DeleteSubrange(0, 2);
      }));
}

TEST(EvilSignaturesTest, A9OneMemberTwiceCountsOnce) {
  ExpectKeptItsShares(
      FateWithSignatures([](LyingCoordinator&, v1::UnmaskRequest& request) {
        for (int i = 1; i < 5; ++i) {
          *request.mutable_signatures(i) = request.signatures(0);
        }
      }));
}

TEST(EvilSignaturesTest, A9SignaturesOverAnotherSetDoNotCount) {
  ExpectKeptItsShares(FateWithSignatures([](LyingCoordinator& world,
                                            v1::UnmaskRequest& request) {
    for (v1::IndexedSignature& entry : *request.mutable_signatures()) {
      if (entry.index() == kVictim) continue;
      entry.set_signature(world.SurvivorSignature(
          entry.index(), world.u2(), secagg::BitmapOf(Members({0, 1, 2, 3}))));
    }
  }));
}

TEST(EvilSignaturesTest, A9AnOutsiderInTheListIsALength) {
  const auto fate =
      FateWithSignatures([](LyingCoordinator&, v1::UnmaskRequest& request) {
        request.mutable_signatures(2)->set_index(5);
      });
  EXPECT_EQ(fate.code, v1::LENGTH);
}

}  // namespace
}  // namespace edgetune
