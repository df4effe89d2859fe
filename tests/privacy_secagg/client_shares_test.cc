// A coordinator that lies about shares, against the real client: R2b of the
// design's section 6, each lie with its code.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "privacy/secagg/session_keys.h"
#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using Body = v1::SecAggClientMessage;

using SharesLie = Lie<v1::ForwardedShares>;
class SecAggForwardedTest : public ::testing::TestWithParam<SharesLie> {};

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
  SignSet(m);
}

INSTANTIATE_TEST_SUITE_P(
    Lies, SecAggForwardedTest,
    ::testing::Values(
        SharesLie{"ShortSession", v1::LENGTH,
                  [](auto& m) { m.mutable_session()->pop_back(); }},
        SharesLie{"AnotherSession", v1::REPLAY,
                  [](auto& m) {
                    Flip(*m.mutable_session());
                    SignSet(m);
                  }},
        SharesLie{"AnotherSignature", v1::BAD_SIGNATURE,
                  [](auto& m) { Flip(*m.mutable_signature()); }},
        SharesLie{"ForeignSignature", v1::BAD_SIGNATURE,
                  [](auto& m) {
                    m.set_signature(
                        FleetOfFive()
                            .foreign_key
                            .Sign(U2Bytes(DigestFrom(m.session()), m.u2()))
                            .value());
                  }},
        SharesLie{"UnsignedU2", v1::BAD_SIGNATURE,
                  [](auto& m) { m.set_u2(std::string(1, '\x0f')); }},
        SharesLie{"U2TooShort", v1::LENGTH,
                  [](auto& m) {
                    m.clear_u2();
                    SignSet(m);
                  }},
        SharesLie{"U2TooLong", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_u2()->push_back(0);
                    SignSet(m);
                  }},
        SharesLie{"U2WithPaddingSet", v1::LENGTH,
                  [](auto& m) {
                    m.set_u2(std::string(1, '\x3f'));
                    SignSet(m);
                  }},
        SharesLie{"WithoutUs", v1::U2_INVALID,
                  [](auto& m) {
                    m.set_u2(std::string(1, '\x1d'));
                    SignSet(m);
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
                    SignSet(m);
                  }},
        SharesLie{"AMillion", v1::U2_INVALID,
                  [](auto& m) {
                    for (int i = 0; i < 1'000'000; ++i) m.add_shares();
                  }},
        SharesLie{"Commitment", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_shares(2)->mutable_commitment()->pop_back();
                  }},
        SharesLie{"NothingOfADeadMember", v1::LENGTH,
                  [](auto& m) {
                    m.mutable_shares(2)->clear_commitment();
                    m.mutable_shares(2)->clear_ciphertext();
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
class SecAggComplaintTest : public ::testing::TestWithParam<SharesLie> {};

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
  EXPECT_THAT(session.blames, ElementsAre(::testing::Pair(kVictim, 3)));
  for (const auto& client : session.clients) EXPECT_EQ(client.spends, 0);
}

// With five members and us as number 1, entry 2 is member 3.
INSTANTIATE_TEST_SUITE_P(
    Lies, SecAggComplaintTest,
    ::testing::Values(
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

TEST(SecAggClientTest, ACiphertextOfAnotherLengthIsNotOpened) {
  const SecretBytes key(kKeyBytes);
  for (const size_t size :
       {size_t{0}, kCiphertextBytes - 1, kCiphertextBytes + 1, size_t{1000}}) {
    const auto opened = OpenShares(key, ShareRoute{}, std::string(size, 'c'));
    EXPECT_EQ(AbortCodeOf(opened.status()), v1::LENGTH) << size;
  }
}

}  // namespace
}  // namespace edgetune::secagg
