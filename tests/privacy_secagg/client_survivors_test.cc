// A coordinator that lies about the survivors, against the real client: R3 to
// R5 of the design's section 6, each lie with its code.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::SizeIs;
using Body = v1::SecAggClientMessage;

const std::string kAllOfFive(1, '\x1f');

struct StepLie {
  const char* name;
  v1::AbortCode code;
  std::function<void(v1::SecAggServerMessage&)> tell;
  friend std::ostream& operator<<(std::ostream& out, const StepLie& lie) {
    return out << lie.name;
  }
};
class SecAggStepTest : public ::testing::TestWithParam<StepLie> {};

TEST_P(SecAggStepTest, A9ALieIsRefusedAndNoShareIsShown) {
  Harness session(FleetOfFive(), Five());
  const Fate fate = FateOfVictim(session, GetParam().tell);
  EXPECT_EQ(fate.code, GetParam().code) << fate.detail;
  EXPECT_FALSE(fate.sent.contains(Body::kUnmask));
  EXPECT_TRUE(fate.sent.contains(Body::kAbort));
}

std::function<void(v1::SecAggServerMessage&)> OnOpen(
    std::function<void(v1::OpenInput&)> tell) {
  return [tell](v1::SecAggServerMessage& message) {
    if (message.has_open()) tell(*message.mutable_open());
  };
}
std::function<void(v1::SecAggServerMessage&)> OnFreeze(
    std::function<void(v1::Freeze&)> tell) {
  return [tell](v1::SecAggServerMessage& message) {
    if (message.has_freeze()) tell(*message.mutable_freeze());
  };
}
std::function<void(v1::SecAggServerMessage&)> OnUnmask(
    std::function<void(v1::UnmaskRequest&)> tell) {
  return [tell](v1::SecAggServerMessage& message) {
    if (message.has_unmask()) tell(*message.mutable_unmask());
  };
}
std::function<void(v1::SecAggServerMessage&)> WithU3(char u3) {
  return OnFreeze([u3](v1::Freeze& m) {
    m.set_u3(std::string(1, u3));
    SignSet(m);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Open, SecAggStepTest,
    ::testing::Values(StepLie{"ShortSession", v1::LENGTH, OnOpen([](auto& m) {
                                m.mutable_session()->pop_back();
                              })},
                      StepLie{"AnotherSession", v1::REPLAY, OnOpen([](auto& m) {
                                Flip(*m.mutable_session());
                              })}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Freeze, SecAggStepTest,
    ::testing::Values(
        StepLie{"ShortSession", v1::LENGTH,
                OnFreeze([](auto& m) { m.mutable_session()->pop_back(); })},
        StepLie{"AnotherSession", v1::REPLAY, OnFreeze([](auto& m) {
                  Flip(*m.mutable_session());
                  SignSet(m);
                })},
        StepLie{"AnotherSignature", v1::BAD_SIGNATURE,
                OnFreeze([](auto& m) { Flip(*m.mutable_signature()); })},
        StepLie{"UnsignedU3", v1::BAD_SIGNATURE,
                OnFreeze([](auto& m) { m.set_u3(std::string(1, '\x0f')); })},
        StepLie{"SignedForAnotherU2", v1::BAD_SIGNATURE,
                OnFreeze([](auto& m) { SignSet(m, std::string(1, '\x0f')); })},
        StepLie{"TooShort", v1::LENGTH, OnFreeze([](auto& m) {
                  m.clear_u3();
                  SignSet(m);
                })},
        StepLie{"WithPaddingSet", v1::LENGTH, WithU3('\x3f')},
        StepLie{"WithoutUs", v1::U3_INVALID, WithU3('\x1d')},
        StepLie{"BelowTheThreshold", v1::U3_INVALID, WithU3('\x07')}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Unmask, SecAggStepTest,
    ::testing::Values(
        StepLie{"ShortSession", v1::LENGTH,
                OnUnmask([](auto& m) { m.mutable_session()->pop_back(); })},
        StepLie{"AnotherSession", v1::REPLAY,
                OnUnmask([](auto& m) { Flip(*m.mutable_session()); })},
        StepLie{"None", v1::TOO_FEW_SIGS,
                OnUnmask([](auto& m) { m.clear_signatures(); })},
        StepLie{"TooFew", v1::TOO_FEW_SIGS, OnUnmask([](auto& m) {
                  m.mutable_signatures()->DeleteSubrange(3, 2);
                })},
        StepLie{"OneInvalid", v1::TOO_FEW_SIGS, OnUnmask([](auto& m) {
                  m.mutable_signatures()->RemoveLast();
                  Flip(*m.mutable_signatures(3)->mutable_signature());
                })},
        StepLie{"OneTwice", v1::TOO_FEW_SIGS, OnUnmask([](auto& m) {
                  *m.mutable_signatures(3) = m.signatures(0);
                  *m.mutable_signatures(4) = m.signatures(0);
                })},
        StepLie{"UnderAnothersIndex", v1::TOO_FEW_SIGS, OnUnmask([](auto& m) {
                  m.mutable_signatures(3)->set_index(4);
                  m.mutable_signatures(4)->set_index(3);
                })},
        StepLie{"NoSuchMember", v1::LENGTH, OnUnmask([](auto& m) {
                  m.mutable_signatures(4)->set_index(5);
                })},
        StepLie{"HugeIndex", v1::LENGTH, OnUnmask([](auto& m) {
                  m.mutable_signatures(4)->set_index(~0u);
                })},
        StepLie{"MoreThanMembers", v1::LENGTH, OnUnmask([](auto& m) {
                  *m.add_signatures() = m.signatures(0);
                })},
        StepLie{"AMillion", v1::LENGTH, OnUnmask([](auto& m) {
                  for (int i = 0; i < 1'000'000; ++i) m.add_signatures();
                })}),
    [](const auto& info) { return info.param.name; });

// The victim signed {0..3}, as it was told; the others signed all five.
// As many signatures as are wanted, all from members of U3, over another set.
TEST(SecAggClientTest, A9SignaturesOverAnotherSurvivorSetDoNotCount) {
  Harness session(FleetOfFive(), Five());
  const Fate fate = FateOfVictim(
      session, OnUnmask([&](v1::UnmaskRequest& m) {
        for (v1::IndexedSignature& each : *m.mutable_signatures()) {
          each.set_signature(
              session.fleet.identities[each.index()]
                  .Sign(U3Bytes(session.server->session(), kAllOfFive,
                                std::string(1, '\x0f')))
                  .value());
        }
      }));
  EXPECT_EQ(fate.code, v1::TOO_FEW_SIGS);
  EXPECT_FALSE(fate.sent.contains(Body::kUnmask));
}

// Member 4 signs although it is not in U3: it does not count.
TEST(SecAggClientTest, A9SignaturesFromOutsideU3DoNotCount) {
  Harness session(FleetOfFive(), Five());
  session.clients[4].stop = Stage::kR3;
  const Fate fate =
      FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
        if (!message.has_unmask()) return;
        v1::IndexedSignature& last =
            *message.mutable_unmask()->mutable_signatures(3);
        last.set_index(4);
        last.set_signature(
            session.fleet.identities[4]
                .Sign(U3Bytes(session.server->session(), kAllOfFive,
                              std::string(1, '\x0f')))
                .value());
      });
  EXPECT_EQ(fate.code, v1::TOO_FEW_SIGS);
}

// U2 lacks member 4, who stopped before R2; U3 names it all the same.
TEST(SecAggClientTest, A9ASurvivorOutsideU2IsRefusedWithEvidence) {
  Harness session(FleetOfFive(), Five());
  session.clients[4].stop = Stage::kR2;
  const Fate fate = FateOfVictim(session, OnFreeze([](v1::Freeze& m) {
                                   m.set_u3(kAllOfFive);
                                   SignSet(m, std::string(1, '\x0f'));
                                 }));
  EXPECT_EQ(fate.code, v1::U3_INVALID);
  ASSERT_THAT(fate.evidence, SizeIs(1));
  for (const v1::SignedStatement& s : fate.evidence[0].statements()) {
    EXPECT_TRUE(RoundKey().Verify(s.statement(), s.signature()));
    EXPECT_EQ(s.signer(), RoundKey().raw());
  }
}

TEST(SecAggClientTest, A9AFreezeThatLeavesUsOutIsEvidence) {
  Harness session(FleetOfFive(), Five());
  EXPECT_THAT(FateOfVictim(session, WithU3('\x1d')).evidence, SizeIs(1));
}

}  // namespace
}  // namespace edgetune::secagg
