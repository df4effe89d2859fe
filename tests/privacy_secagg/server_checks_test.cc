// Members that send nonsense to the real coordinator: it refuses the message
// with the code of the design's section 6, keeps the member, and ends with the
// exact sum.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Message = v1::SecAggClientMessage;
using ClientLie = Lie<Message>;

// Before its own message, the victim sends the lie about it.
class SecAggServerChecksTest : public ::testing::TestWithParam<ClientLie> {};

TEST_P(SecAggServerChecksTest, A17NonsenseIsRefusedAndItsSenderStays) {
  Harness session(FleetOfFive(), Five());
  session.clients[4].stop = Stage::kR2;
  bool told = false;
  session.to_server = [&](uint32_t index, Message& message) {
    Message lie = message;
    if (index == kVictim) GetParam().tell(lie);
    if (lie.SerializeAsString() != message.SerializeAsString()) {
      session.Inject(kVictim, lie);
      told = true;
    }
    return true;
  };
  session.Run();
  ASSERT_TRUE(told);
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].index, kVictim);
  EXPECT_EQ(session.refusals[0].code, GetParam().code);
  EXPECT_THAT(session.refusals[0].document, IsEmpty());
  ASSERT_TRUE(session.Committed());
  EXPECT_TRUE(session.server->survivors()[kVictim]);
  EXPECT_EQ(session.BrokenInvariant(), "");
}

template <typename F>
auto InShares(F tell) {
  return [tell](Message& m) {
    if (m.has_shares()) tell(*m.mutable_shares());
  };
}
template <typename F>
auto InAck(F tell) {
  return [tell](Message& m) {
    if (m.has_ack()) tell(*m.mutable_ack());
  };
}
template <typename F>
auto InInput(F tell) {
  return [tell](Message& m) {
    if (m.has_input()) tell(*m.mutable_input());
  };
}
template <typename F>
auto InSurvivors(F tell) {
  return [tell](Message& m) {
    if (m.has_survivors()) tell(*m.mutable_survivors());
  };
}
template <typename F>
auto InUnmask(F tell) {
  return [tell](Message& m) {
    if (m.has_unmask()) tell(*m.mutable_unmask());
  };
}

INSTANTIATE_TEST_SUITE_P(
    Shares, SecAggServerChecksTest,
    ::testing::Values(
        ClientLie{"NoSession", v1::LENGTH,
                  InShares([](auto& m) { m.clear_session(); })},
        ClientLie{"LongSession", v1::LENGTH,
                  InShares([](auto& m) { m.mutable_session()->push_back(0); })},
        ClientLie{"AnotherSession", v1::REPLAY,
                  InShares([](auto& m) { Flip(*m.mutable_session()); })},
        ClientLie{"NoCiphertexts", v1::LENGTH,
                  InShares([](auto& m) { m.clear_ciphertexts(); })},
        ClientLie{"OneTooFew", v1::LENGTH, InShares([](auto& m) {
                    m.mutable_ciphertexts()->RemoveLast();
                  })},
        ClientLie{"OneTooMany", v1::LENGTH, InShares([](auto& m) {
                    m.add_ciphertexts(m.ciphertexts(0));
                  })},
        ClientLie{"AMillion", v1::LENGTH, InShares([](auto& m) {
                    for (int i = 0; i < 1'000'000; ++i) m.add_ciphertexts();
                  })},
        ClientLie{"ShortCiphertext", v1::LENGTH, InShares([](auto& m) {
                    m.mutable_ciphertexts(3)->pop_back();
                  })},
        ClientLie{"LongCiphertext", v1::LENGTH, InShares([](auto& m) {
                    m.mutable_ciphertexts(0)->push_back(0);
                  })},
        ClientLie{"ShortCommitment", v1::LENGTH, InShares([](auto& m) {
                    m.mutable_commitment()->pop_back();
                  })},
        ClientLie{"ShortSignature", v1::LENGTH,
                  InShares([](auto& m) { m.mutable_signature()->pop_back(); })},
        ClientLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  InShares([](auto& m) { Flip(*m.mutable_signature()); })},
        ClientLie{"UnsignedCommitment", v1::BAD_SIGNATURE,
                  InShares([](auto& m) { Flip(*m.mutable_commitment()); })},
        ClientLie{"UnsignedCiphertext", v1::BAD_SIGNATURE,
                  InShares([](auto& m) { Flip(*m.mutable_ciphertexts(2)); })}),
    NameOf<Message>);

INSTANTIATE_TEST_SUITE_P(
    Acks, SecAggServerChecksTest,
    ::testing::Values(
        ClientLie{"ShortSession", v1::LENGTH,
                  InAck([](auto& m) { m.mutable_session()->pop_back(); })},
        ClientLie{"AnotherSession", v1::REPLAY,
                  InAck([](auto& m) { Flip(*m.mutable_session()); })},
        ClientLie{"NotAscending", v1::LENGTH, InAck([](auto& m) {
                    m.add_bad(3);
                    m.add_bad(2);
                  })},
        ClientLie{"OneTwice", v1::LENGTH, InAck([](auto& m) {
                    m.add_bad(2);
                    m.add_bad(2);
                  })},
        ClientLie{"NoSuchMember", v1::LENGTH,
                  InAck([](auto& m) { m.add_bad(5); })},
        ClientLie{"HugeIndex", v1::LENGTH,
                  InAck([](auto& m) { m.add_bad(~0u); })},
        ClientLie{"AboutOneself", v1::LENGTH,
                  InAck([](auto& m) { m.add_bad(kVictim); })},
        ClientLie{"AboutADeadMember", v1::LENGTH,
                  InAck([](auto& m) { m.add_bad(4); })},
        ClientLie{"AMillion", v1::LENGTH, InAck([](auto& m) {
                    for (int i = 0; i < 1'000'000; ++i) m.add_bad(0);
                  })},
        ClientLie{"LongSignature", v1::LENGTH,
                  InAck([](auto& m) { m.mutable_signature()->push_back(0); })},
        ClientLie{"UnsignedComplaint", v1::BAD_SIGNATURE,
                  InAck([](auto& m) { m.add_bad(0); })},
        ClientLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  InAck([](auto& m) { Flip(*m.mutable_signature()); })}),
    NameOf<Message>);

INSTANTIATE_TEST_SUITE_P(
    Input, SecAggServerChecksTest,
    ::testing::Values(
        ClientLie{"ShortSession", v1::LENGTH,
                  InInput([](auto& m) { m.mutable_session()->pop_back(); })},
        ClientLie{"AnotherSession", v1::REPLAY,
                  InInput([](auto& m) { Flip(*m.mutable_session()); })},
        ClientLie{"NoLength", v1::LENGTH,
                  InInput([](auto& m) { m.clear_total_length(); })},
        ClientLie{"LengthOne", v1::LENGTH,
                  InInput([](auto& m) { m.set_total_length(1); })},
        ClientLie{"OneTooShort", v1::LENGTH, InInput([](auto& m) {
                    m.set_total_length(m.total_length() - 1);
                  })},
        ClientLie{"OneTooLong", v1::LENGTH, InInput([](auto& m) {
                    m.set_total_length(m.total_length() + 1);
                  })},
        ClientLie{"TwoGigabytes", v1::LENGTH,
                  InInput([](auto& m) { m.set_total_length(1ull << 31); })},
        ClientLie{"Largest", v1::LENGTH,
                  InInput([](auto& m) { m.set_total_length(~0ull); })},
        ClientLie{"ShortDigest", v1::LENGTH,
                  InInput([](auto& m) { m.mutable_digest()->pop_back(); })},
        ClientLie{"NoSignature", v1::LENGTH,
                  InInput([](auto& m) { m.clear_signature(); })},
        ClientLie{"UnsignedDigest", v1::BAD_SIGNATURE,
                  InInput([](auto& m) { Flip(*m.mutable_digest()); })},
        ClientLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  InInput([](auto& m) { Flip(*m.mutable_signature()); })}),
    NameOf<Message>);

INSTANTIATE_TEST_SUITE_P(
    Survivors, SecAggServerChecksTest,
    ::testing::Values(
        ClientLie{"ShortSession", v1::LENGTH, InSurvivors([](auto& m) {
                    m.mutable_session()->pop_back();
                  })},
        ClientLie{"AnotherSession", v1::REPLAY,
                  InSurvivors([](auto& m) { Flip(*m.mutable_session()); })},
        ClientLie{"ShortSignature", v1::LENGTH, InSurvivors([](auto& m) {
                    m.mutable_signature()->pop_back();
                  })},
        ClientLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  InSurvivors([](auto& m) { Flip(*m.mutable_signature()); })}),
    NameOf<Message>);

// Member 4 is not in U2 here, so all four shares are of seeds.
INSTANTIATE_TEST_SUITE_P(
    Unmask, SecAggServerChecksTest,
    ::testing::Values(
        ClientLie{"ShortSession", v1::LENGTH,
                  InUnmask([](auto& m) { m.mutable_session()->pop_back(); })},
        ClientLie{"AnotherSession", v1::REPLAY,
                  InUnmask([](auto& m) { Flip(*m.mutable_session()); })},
        ClientLie{"NoShares", v1::LENGTH,
                  InUnmask([](auto& m) { m.clear_b_shares(); })},
        ClientLie{"OneMissing", v1::LENGTH, InUnmask([](auto& m) {
                    m.mutable_b_shares()->RemoveLast();
                  })},
        ClientLie{"OneTooMany", v1::LENGTH,
                  InUnmask([](auto& m) { *m.add_b_shares() = m.b_shares(0); })},
        ClientLie{"OfADeadMember", v1::LENGTH, InUnmask([](auto& m) {
                    *m.add_b_shares() = m.b_shares(0);
                    m.mutable_b_shares(4)->set_index(4);
                  })},
        ClientLie{"BothKinds", v1::LENGTH,
                  InUnmask([](auto& m) { *m.add_s_shares() = m.b_shares(0); })},
        ClientLie{"TheOtherKind", v1::LENGTH, InUnmask([](auto& m) {
                    m.mutable_b_shares()->Swap(m.mutable_s_shares());
                  })},
        ClientLie{"OneTwice", v1::LENGTH, InUnmask([](auto& m) {
                    *m.mutable_b_shares(1) = m.b_shares(0);
                  })},
        ClientLie{"OutOfOrder", v1::LENGTH, InUnmask([](auto& m) {
                    m.mutable_b_shares()->SwapElements(2, 3);
                  })},
        ClientLie{"HugeIndex", v1::LENGTH, InUnmask([](auto& m) {
                    m.mutable_b_shares(3)->set_index(~0u);
                  })},
        ClientLie{"ShortShare", v1::LENGTH, InUnmask([](auto& m) {
                    m.mutable_b_shares(1)->mutable_share()->pop_back();
                  })},
        ClientLie{"LongShare", v1::LENGTH, InUnmask([](auto& m) {
                    m.mutable_b_shares(0)->mutable_share()->push_back(0);
                  })},
        ClientLie{"AMillion", v1::LENGTH, InUnmask([](auto& m) {
                    for (int i = 0; i < 1'000'000; ++i) m.add_s_shares();
                  })},
        ClientLie{"ShortSignature", v1::LENGTH,
                  InUnmask([](auto& m) { m.mutable_signature()->pop_back(); })},
        ClientLie{"UnsignedShare", v1::BAD_SIGNATURE, InUnmask([](auto& m) {
                    Flip(*m.mutable_b_shares(0)->mutable_share());
                  })},
        ClientLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  InUnmask([](auto& m) { Flip(*m.mutable_signature()); })}),
    NameOf<Message>);

INSTANTIATE_TEST_SUITE_P(
    Kinds, SecAggServerChecksTest,
    ::testing::Values(ClientLie{"UnknownKind", v1::LENGTH,
                                [](Message& m) {
                                  if (m.has_shares()) m.Clear();
                                }},
                      ClientLie{"Advertisement", v1::LENGTH,
                                [](Message& m) {
                                  if (m.has_shares()) m.mutable_advertise();
                                }},
                      ClientLie{"AckBeforeItsTime", v1::REPLAY,
                                [](Message& m) {
                                  if (m.has_shares()) m.mutable_ack();
                                }},
                      ClientLie{"InputBeforeItsTime", v1::REPLAY,
                                [](Message& m) {
                                  if (m.has_ack()) m.mutable_input();
                                }},
                      ClientLie{"UnmaskBeforeItsTime", v1::REPLAY,
                                [](Message& m) {
                                  if (m.has_survivors()) m.mutable_unmask();
                                }}),
    NameOf<Message>);

// With a dropped member both lists are needed, each for its own dealers.
TEST(SecAggServerTest, A17SharesOfTheWrongKindAreRefused) {
  Harness session(FleetOfFive(), Five());
  session.clients[4].stop = Stage::kR3;
  session.to_server = [&](uint32_t index, Message& message) {
    if (index != kVictim || !message.has_unmask()) return true;
    Message lie = message;
    v1::UnmaskShares& m = *lie.mutable_unmask();
    *m.add_b_shares() = m.s_shares(0);
    m.clear_s_shares();
    SignMessage(session, index, lie);
    session.Inject(index, lie);
    return true;
  };
  session.Run();
  ASSERT_THAT(session.refusals, SizeIs(1));
  EXPECT_EQ(session.refusals[0].code, v1::LENGTH);
  EXPECT_TRUE(session.Committed());
}

}  // namespace
}  // namespace edgetune::secagg
