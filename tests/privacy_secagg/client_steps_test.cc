// A coordinator that lies after the cohort is fixed, against the real client:
// R2b to R5 of the design's section 6, each lie with its code.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Body = v1::SecAggClientMessage;

const SigningKey& RoundKey() { return FleetOfFive().round_key; }

Digest DigestOf(const std::string& bytes) {
  Digest digest;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

// As the coordinator itself signs what it made up.
void Sign(v1::ForwardedShares& m) {
  m.set_signature(
      RoundKey().Sign(U2Bytes(DigestOf(m.session()), m.u2())).value());
}
std::string AllOfFive() { return std::string(1, '\x1f'); }
void SignWithU2(v1::Freeze& m, const std::string& u2) {
  m.set_signature(
      RoundKey().Sign(FreezeBytes(DigestOf(m.session()), u2, m.u3())).value());
}
void Sign(v1::Freeze& m) { SignWithU2(m, AllOfFive()); }

using SharesLie = Lie<v1::ForwardedShares>;
class SecAggForwardedTest : public testing::TestWithParam<SharesLie> {};

TEST_P(SecAggForwardedTest, A9ALieEndsTheSessionBeforeAnyInput) {
  Harness session(FleetOfFive(), Five());
  const Fate fate =
      FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
        if (message.has_shares()) GetParam().tell(*message.mutable_shares());
      });
  EXPECT_EQ(fate.code, GetParam().code) << fate.detail;
  EXPECT_THAT(fate.sent, ElementsAre(Body::kShares, Body::kAbort));
  EXPECT_EQ(fate.spends, 0);
}

// Only the first three of five.
void KeepThree(v1::ForwardedShares& m) {
  m.set_u2(std::string(1, '\x07'));
  m.mutable_shares()->DeleteSubrange(2, 2);
  Sign(m);
}

INSTANTIATE_TEST_SUITE_P(
    Lies, SecAggForwardedTest,
    testing::Values(
        SharesLie{"ShortSession", v1::LENGTH,
                  [](auto& m) { m.mutable_session()->pop_back(); }},
        SharesLie{"AnotherSession", v1::REPLAY,
                  [](auto& m) {
                    Flip(*m.mutable_session());
                    Sign(m);
                  }},
        SharesLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  [](auto& m) { Flip(*m.mutable_signature()); }},
        SharesLie{"ForeignSignature", v1::BAD_SIGNATURE,
                  [](auto& m) {
                    m.set_signature(
                        FleetOfFive()
                            .foreign_key
                            .Sign(U2Bytes(DigestOf(m.session()), m.u2()))
                            .value());
                  }},
        SharesLie{"UnsignedU2", v1::BAD_SIGNATURE,
                  [](auto& m) { m.set_u2(std::string(1, '\x0f')); }},
        SharesLie{"U2TooShort", v1::LENGTH,
                  [](auto& m) {
                    m.clear_u2();
                    Sign(m);
                  }},
        SharesLie{"U2TooLong", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_u2()->push_back(0);
                    Sign(m);
                  }},
        SharesLie{"U2WithPaddingSet", v1::LENGTH,
                  [](auto& m) {
                    m.set_u2(std::string(1, '\x3f'));
                    Sign(m);
                  }},
        SharesLie{"WithoutUs", v1::U2_INVALID,
                  [](auto& m) {
                    m.set_u2(std::string(1, '\x1d'));
                    Sign(m);
                  }},
        SharesLie{"OneMissing", v1::U2_INVALID,
                  [](auto& m) { m.mutable_shares()->RemoveLast(); }},
        SharesLie{"OneTooMany", v1::U2_INVALID,
                  [](auto& m) { *m.add_shares() = m.shares(3); }},
        SharesLie{"Ours", v1::U2_INVALID,
                  [](auto& m) { m.mutable_shares(0)->set_index(kVictim); }},
        SharesLie{"OneTwice", v1::U2_INVALID,
                  [](auto& m) { *m.mutable_shares(1) = m.shares(0); }},
        SharesLie{"OutOfOrder", v1::U2_INVALID,
                  [](auto& m) { m.mutable_shares()->SwapElements(0, 1); }},
        SharesLie{"NoSuchMember", v1::U2_INVALID,
                  [](auto& m) { m.mutable_shares(3)->set_index(1u << 31); }},
        SharesLie{"OfADeadMember", v1::U2_INVALID,
                  [](auto& m) {
                    m.set_u2(std::string(1, '\x0f'));
                    Sign(m);
                  }},
        SharesLie{"AMillion", v1::U2_INVALID,
                  [](auto& m) {
                    for (int i = 0; i < 1'000'000; ++i) m.add_shares();
                  }},
        SharesLie{"Commitment", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_shares(2)->mutable_commitment()->pop_back();
                  }},
        SharesLie{"ShortCiphertext", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_shares(2)->mutable_ciphertext()->pop_back();
                  }},
        SharesLie{"LongCiphertext", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_shares(2)->mutable_ciphertext()->push_back(0);
                  }},
        SharesLie{"BelowTheThreshold", v1::NOT_ENOUGH, KeepThree}),
    NameOf<v1::ForwardedShares>);

// What cannot be opened is a complaint, and no reason to leave.
class SecAggComplaintTest : public testing::TestWithParam<SharesLie> {};

TEST_P(SecAggComplaintTest, A15WhatCannotBeOpenedIsAComplaint) {
  Harness session(FleetOfFive(), Five());
  std::vector<uint32_t> bad;
  const Fate fate =
      FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
        if (message.has_shares()) GetParam().tell(*message.mutable_shares());
      });
  EXPECT_EQ(fate.code, GetParam().code);
  EXPECT_THAT(fate.sent, ElementsAre(Body::kShares, Body::kAck));
  EXPECT_EQ(session.code(), v1::BAD_SHARE);
  EXPECT_THAT(session.blames, ElementsAre(testing::Pair(kVictim, 3)));
  for (const auto& client : session.clients) EXPECT_EQ(client.spends, 0);
}

// With five members and us as number 1, entry 2 is member 3.
INSTANTIATE_TEST_SUITE_P(
    Lies, SecAggComplaintTest,
    testing::Values(
        SharesLie{"Nonce", v1::BAD_SHARE,
                  [](auto& m) {
                    m.mutable_shares(2)->mutable_ciphertext()->front() ^= 1;
                  }},
        SharesLie{"Share", v1::BAD_SHARE,
                  [](auto& m) {
                    (*m.mutable_shares(2)->mutable_ciphertext())[40] ^= 1;
                  }},
        SharesLie{"Tag", v1::BAD_SHARE,
                  [](auto& m) {
                    m.mutable_shares(2)->mutable_ciphertext()->back() ^= 1;
                  }},
        SharesLie{
            "Commitment", v1::BAD_SHARE,
            [](auto& m) { Flip(*m.mutable_shares(2)->mutable_commitment()); }},
        SharesLie{"OfAnotherDealer", v1::BAD_SHARE,
                  [](auto& m) {
                    m.mutable_shares(2)->set_ciphertext(
                        m.shares(1).ciphertext());
                  }}),
    NameOf<v1::ForwardedShares>);

TEST(SecAggClientTest, A15AnIgnoredComplaintEndsTheSession) {
  Harness session(FleetOfFive(), Five());
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index != kVictim || !message.has_ack()) return true;
    // The coordinator goes on as if nobody had complained.
    EXPECT_THAT(message.ack().bad(), ElementsAre(3));
    v1::SecAggServerMessage open;
    open.mutable_open()->set_session(message.ack().session());
    const auto actions = session.Tell(kVictim, open);
    EXPECT_THAT(actions, SizeIs(2));
    EXPECT_EQ(actions.back().code, v1::BAD_SHARE);
    return false;
  };
  session.to_client = [](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim && message.has_shares()) {
      Flip(*message.mutable_shares()->mutable_shares(2)->mutable_ciphertext());
    }
    return true;
  };
  session.Run();
  EXPECT_EQ(session.clients[kVictim].spends, 0);
}

struct StepLie {
  const char* name;
  v1::AbortCode code;
  std::function<void(v1::SecAggServerMessage&)> tell;
  friend std::ostream& operator<<(std::ostream& out, const StepLie& lie) {
    return out << lie.name;
  }
};
class SecAggStepTest : public testing::TestWithParam<StepLie> {};

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
    Sign(m);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Open, SecAggStepTest,
    testing::Values(StepLie{"ShortSession", v1::LENGTH, OnOpen([](auto& m) {
                              m.mutable_session()->pop_back();
                            })},
                    StepLie{"AnotherSession", v1::REPLAY, OnOpen([](auto& m) {
                              Flip(*m.mutable_session());
                            })}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Freeze, SecAggStepTest,
    testing::Values(
        StepLie{"ShortSession", v1::LENGTH,
                OnFreeze([](auto& m) { m.mutable_session()->pop_back(); })},
        StepLie{"AnotherSession", v1::REPLAY, OnFreeze([](auto& m) {
                  Flip(*m.mutable_session());
                  Sign(m);
                })},
        StepLie{"AnotherSignature", v1::BAD_SIGNATURE,
                OnFreeze([](auto& m) { Flip(*m.mutable_signature()); })},
        StepLie{"UnsignedU3", v1::BAD_SIGNATURE,
                OnFreeze([](auto& m) { m.set_u3(std::string(1, '\x0f')); })},
        StepLie{"SignedForAnotherU2", v1::BAD_SIGNATURE, OnFreeze([](auto& m) {
                  SignWithU2(m, std::string(1, '\x0f'));
                })},
        StepLie{"TooShort", v1::LENGTH, OnFreeze([](auto& m) {
                  m.clear_u3();
                  Sign(m);
                })},
        StepLie{"WithPaddingSet", v1::LENGTH, WithU3('\x3f')},
        StepLie{"WithoutUs", v1::U3_INVALID, WithU3('\x1d')},
        StepLie{"BelowTheThreshold", v1::U3_INVALID, WithU3('\x07')}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Unmask, SecAggStepTest,
    testing::Values(
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
TEST(SecAggClientTest, A9SignaturesOverAnotherSurvivorSetDoNotCount) {
  Harness session(FleetOfFive(), Five());
  const auto lie = WithU3('\x0f');
  std::optional<SecAggClient::Actions> answer;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) lie(message);
    if (index == 0 && message.has_unmask()) {
      answer = session.Tell(kVictim, message);
    }
    return true;
  };
  session.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->back().code, v1::TOO_FEW_SIGS);
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
                .Sign(U3Bytes(session.server->session(), AllOfFive(),
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
                                   m.set_u3(AllOfFive());
                                   SignWithU2(m, std::string(1, '\x0f'));
                                 }));
  EXPECT_EQ(fate.code, v1::U3_INVALID);
  ASSERT_THAT(fate.evidence, SizeIs(1));
  for (const v1::SignedStatement& s : fate.evidence[0].statements()) {
    EXPECT_TRUE(RoundKey().public_key().Verify(s.statement(), s.signature()));
    EXPECT_EQ(s.signer(), RoundKey().public_key().raw());
  }
}

TEST(SecAggClientTest, A9AFreezeThatLeavesUsOutIsEvidence) {
  Harness session(FleetOfFive(), Five());
  EXPECT_THAT(FateOfVictim(session, WithU3('\x1d')).evidence, SizeIs(1));
}

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
  Sign(*message.mutable_freeze());
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
    EXPECT_TRUE(RoundKey().public_key().Verify(s.statement(), s.signature()));
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
    Sign(*message.mutable_shares());
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
