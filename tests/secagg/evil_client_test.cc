// Devices that lie, over mutual TLS, to the real coordinator: the honest rest
// commits the exact sum, or nothing is published.

#include <gmock/gmock.h>

#include <atomic>
#include <latch>

#include "absl/synchronization/notification.h"
#include "privacy/secagg/encoding.h"
#include "tests/secagg/tls_world.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::ScriptedDevice;
using ::testing::SizeIs;
using testing::TlsWorld;
using Body = ScriptedDevice::Body;

// The session cannot go on without the devices' updates, which are spent.
void ExpectNothingPublished(TlsWorld& world, const std::string& code) {
  ASSERT_TRUE(world.WaitEvent(code));
  const v1::RunStatus status = world.WaitUntil([](const v1::RunStatus& s) {
    return s.state() == v1::RunStatus::PAUSED_NEEDS_OVERRIDE;
  });
  EXPECT_THAT(status.cards(), SizeIs(1));
  EXPECT_THAT(status.receipts(), IsEmpty());
}

// --- A15

// Garbage where the share of `victim` belongs.
void DealGarbage(ScriptedDevice& liar, uint32_t position) {
  liar.to_server = [&liar, position](Body& message) {
    if (!message.has_shares()) return true;
    *message.mutable_shares()->mutable_ciphertexts(static_cast<int>(position)) =
        std::string(92, 'x');
    liar.Sign(message);
    return true;
  };
}

TEST(EvilClientTest, A15AGarbageShareCostsOneAttemptAndNobodysUpdate) {
  TlsWorld world(7);
  constexpr uint32_t kLiar = 2, kAccuser = 3;
  DealGarbage(world.device(kLiar), kAccuser - 1);  // its list skips itself
  testing::RealClient& accuser = world.UseRealClient(kAccuser);
  world.Submit();
  const v1::RoundReceipt receipt = world.WaitReceipt();
  EXPECT_EQ(world.CountEvents("abandoned: BAD_SHARE"), 1u);
  EXPECT_EQ(receipt.survivors(), 5u);
  world.ExpectAdapterIsMeanOf({0, 1, 4, 5, 6});
  EXPECT_EQ(world.ScoreOf(kLiar), 1u);
  EXPECT_EQ(world.ScoreOf(kAccuser), 1u);
  accuser.Stop();
  const std::string initial = world.run.plan.lora().initial_digest();
  for (const Row& row : accuser.Rows("SELECT adapter FROM spent")) {
    EXPECT_NE(std::get<Blob>(row[0]).bytes, initial);
  }
}

// --- A16

void LieInUnmasking(ScriptedDevice& liar, char flipped = 1) {
  liar.to_server = [&liar, flipped](Body& message) {
    if (!message.has_unmask()) return true;
    message.mutable_unmask()->mutable_b_shares(0)->mutable_share()->front() ^=
        flipped;
    liar.Sign(message);
    return true;
  };
}

TEST(EvilClientTest, A16AsManyWrongSharesAsCanBeCorrectedAreNamed) {
  TlsWorld world(10);  // t = 7: of ten answers one may lie
  LieInUnmasking(world.device(3));
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 10u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(world.ScoreOf(3), 1u);
  EXPECT_EQ(world.ScoreOf(0), 1u);  // the dealer may have dealt it so
  EXPECT_EQ(world.ScoreOf(5), 0u);
}

TEST(EvilClientTest, A16PointsOutliveARestart) {
  TlsWorld world(10);
  LieInUnmasking(world.device(3));
  world.Submit();
  world.WaitReceipt();
  const uint32_t points = world.ScoreOf(3);
  EXPECT_GE(points, 1u);
  world.RestartServer();
  EXPECT_GE(world.ScoreOf(3), points);
}

TEST(EvilClientTest, A16OneMoreEndsTheRoundWithoutASum) {
  TlsWorld world(10);
  LieInUnmasking(world.device(1), 1);
  LieInUnmasking(world.device(3), 2);
  world.Submit();
  ExpectNothingPublished(world, "RECONSTRUCT");
}

// --- the vector

TEST(EvilClientTest, AGarbageVectorIsNeverPublished) {
  TlsWorld world(5);
  world.device(2).upload = [](std::string& masked) {
    masked.assign(masked.size(), '\x7f');
  };
  world.Submit();
  ExpectNothingPublished(world, "MASK_MISMATCH");
}

// All but the counter is in order.
TEST(EvilClientTest, AVectorThatDoesNotCountItsSenderIsNeverPublished) {
  TlsWorld world(5);
  world.device(2).upload = [](std::string& masked) { masked[0] ^= 1; };
  world.Submit();
  ExpectNothingPublished(world, "MASK_MISMATCH");
}

TEST(EvilClientTest, A4AnInputAfterTheFreezeIsLateAndNotInTheSum) {
  TlsWorld world(5);
  absl::Notification late;
  world.device(4).uploaded = [] { return false; };
  world.device(0).to_server = [&](Body& message) {
    if (message.has_survivors()) late.WaitForNotification();
    return true;
  };
  world.Submit();
  ScriptedDevice& straggler = world.device(4);
  EXPECT_TRUE(straggler.WaitUpload());
  straggler.Disconnect();
  EXPECT_TRUE(world.WaitEvent("lost while masking"));
  straggler.uploaded = nullptr;
  straggler.Start();
  straggler.FinishUpload();
  EXPECT_TRUE(world.WaitEvent("came too late"));
  late.Notify();
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 3});
}

// --- who speaks

// The holder of one certificate says what another identity key signed.
TEST(EvilClientTest, A18KeysSignedForAnotherIdAreRefused) {
  TlsWorld world(5);
  ScriptedDevice& thief = world.device(3);
  const auto& robbed = world.fleet.members[1];
  thief.to_server = [&](Body& message) {
    if (message.has_advertise()) {
      v1::AdvertiseKeys& keys = *message.mutable_advertise();
      const Digest manifest = DigestFromBytes(keys.manifest()).value();
      keys.set_signature(
          robbed.identity
              .Sign(secagg::AdvertiseBytes(manifest, robbed.id, keys))
              .value());
    }
    return true;
  };
  world.Submit();
  EXPECT_TRUE(thief.WaitOutcomes(1));
  EXPECT_EQ(thief.OutcomeAt(0).result(), v1::Outcome::REFUSED);
  EXPECT_THAT(thief.OutcomeAt(0).detail(), HasSubstr("BAD_SIGNATURE"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 4});
}

// Every honest member leaves a cohort that holds such keys and blames nobody,
// so they must not get into one.
struct UnusableKeys {
  const char* name;
  v1::AbortCode code;
  std::function<void(v1::AdvertiseKeys&)> tell;
};
class EvilKeysTest : public ::testing::TestWithParam<UnusableKeys> {};

TEST_P(EvilKeysTest, A8UnusableKeysKeepTheirOwnMemberOut) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(3);
  liar.to_server = [&](Body& message) {
    if (!message.has_advertise()) return true;
    GetParam().tell(*message.mutable_advertise());
    liar.Sign(message);
    return true;
  };
  world.Submit();
  EXPECT_TRUE(liar.WaitOutcomes(1));
  EXPECT_EQ(liar.OutcomeAt(0).result(), v1::Outcome::REFUSED);
  EXPECT_THAT(liar.OutcomeAt(0).detail(),
              HasSubstr(v1::AbortCode_Name(GetParam().code)));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 4});
}

INSTANTIATE_TEST_SUITE_P(
    Lies, EvilKeysTest,
    ::testing::Values(
        UnusableKeys{"OneForBothUses", v1::DUP_KEY,
                     [](auto& keys) { keys.set_s_pk(keys.c_pk()); }},
        UnusableKeys{"SealingKeyOfLowOrder", v1::COHORT_INVALID,
                     [](auto& keys) { keys.set_c_pk(std::string(32, 0)); }},
        UnusableKeys{"MaskKeyOfLowOrder", v1::COHORT_INVALID,
                     [](auto& keys) { keys.set_s_pk(std::string(32, 0)); }}),
    [](const auto& info) { return info.param.name; });

// Two members who are friends: the second advertises what the first has.
struct SharedKey {
  const char* name;
  bool sealing_of_first, sealing_of_second;
};
class EvilFriendsTest : public ::testing::TestWithParam<SharedKey> {};

TEST_P(EvilFriendsTest, A8AKeyOfAnotherMemberIsRefused) {
  TlsWorld world(5);
  ScriptedDevice& second = world.device(3);
  std::string shared;
  std::latch others_are_in(1);
  world.device(1).to_server = [&](Body& message) {
    if (message.has_advertise() && shared.empty()) {
      const v1::AdvertiseKeys& keys = message.advertise();
      shared = GetParam().sealing_of_first ? keys.c_pk() : keys.s_pk();
    }
    return true;
  };
  second.to_server = [&](Body& message) {
    if (!message.has_advertise()) return true;
    others_are_in.wait();
    v1::AdvertiseKeys& keys = *message.mutable_advertise();
    *(GetParam().sealing_of_second ? keys.mutable_c_pk()
                                   : keys.mutable_s_pk()) = shared;
    second.Sign(message);
    return true;
  };
  world.Submit();
  world.WaitUntil([&](const v1::RunStatus&) {
    return world.CountEvents("sent its keys") == 4;
  });
  others_are_in.count_down();
  EXPECT_TRUE(second.WaitOutcomes(1));
  EXPECT_EQ(second.OutcomeAt(0).result(), v1::Outcome::REFUSED);
  EXPECT_THAT(second.OutcomeAt(0).detail(), HasSubstr("DUP_KEY"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 4});
}

INSTANTIATE_TEST_SUITE_P(
    Keys, EvilFriendsTest,
    ::testing::Values(SharedKey{"BothForSealing", true, true},
                      SharedKey{"SealingForMasking", true, false},
                      SharedKey{"MaskingForSealing", false, true},
                      SharedKey{"BothForMasking", false, false}),
    [](const auto& info) { return info.param.name; });

TEST(EvilClientTest, A18SecondKeysOfOneDeviceAreAReplay) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(3);
  liar.to_server = [&](Body& message) {
    if (!message.has_advertise()) return true;
    liar.Send(message);
    Body second = message;
    second.mutable_advertise()->set_signature(std::string(64, 's'));
    liar.Send(second);
    return true;
  };
  world.Submit();
  EXPECT_TRUE(world.WaitEvent("refused second keys of " +
                              world.fleet.members[3].name + ": REPLAY"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
}

// A second stream under the same certificate has none of the secrets.
TEST(EvilClientTest, A18ADeviceThatBeginsAnewWhileMaskingIsOut) {
  TlsWorld world(5);
  ScriptedDevice twin(world.fleet, 3, world.address());
  std::atomic<bool> started{false};
  world.device(3).to_server = [&](Body& message) {
    if (message.has_ack() && !started.exchange(true)) twin.Start();
    return !message.has_ack();
  };
  world.Submit();
  EXPECT_TRUE(world.WaitEvent("began anew"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  EXPECT_TRUE(absl::IsAborted(world.device(3).down()));
  twin.Stop();
}

struct Moment {
  const char* name;
  Body::BodyCase says;
  uint32_t cohort, survivors;
};
class RevokedTest : public ::testing::TestWithParam<Moment> {};

// Denied just before it says the next thing: it is not heard any more.
TEST_P(RevokedTest, A18IsHeardNoMoreAndTheRoundGoesOn) {
  TlsWorld world(5);
  ScriptedDevice& revoked = world.device(2);
  revoked.to_server = [&](Body& message) {
    if (message.body_case() != GetParam().says) return true;
    world.coordinator().SetDenied({revoked.member.name});
    return revoked.WaitDown();
  };
  world.Submit();
  const v1::RoundReceipt receipt = world.WaitReceipt();
  ASSERT_THAT(receipt.groups(), SizeIs(1));
  EXPECT_EQ(receipt.groups(0).cohort_size(), GetParam().cohort);
  EXPECT_EQ(receipt.survivors(), GetParam().survivors);
  EXPECT_TRUE(revoked.WaitDown());
  EXPECT_TRUE(absl::IsPermissionDenied(revoked.down()));
  EXPECT_FALSE(revoked.transport().QueryUpload(v1::UploadKey()).ok());
}

INSTANTIATE_TEST_SUITE_P(
    A18, RevokedTest,
    ::testing::Values(Moment{"WithItsKeys", Body::kAdvertise, 4, 4},
                      Moment{"WithItsShares", Body::kShares, 5, 4},
                      Moment{"WithItsAck", Body::kAck, 5, 4},
                      Moment{"WithItsInput", Body::kInput, 5, 4},
                      Moment{"WithItsSignature", Body::kSurvivors, 5, 5},
                      Moment{"WithItsAnswer", Body::kUnmask, 5, 5}),
    [](const auto& info) { return info.param.name; });

// It is heard no more at once, and stays in the cohort that was cut before.
TEST(EvilClientTest, A13ARevokedMemberIsNotAskedInTheNextRound) {
  TlsWorld world(5);
  world.device(0).to_server = [&](Body& message) {
    if (message.has_ack()) world.PublishRoster({2});
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt(0).groups(0).cohort_size(), 5);
  const v1::RoundReceipt next = world.WaitReceipt(1);
  ASSERT_THAT(next.groups(), SizeIs(1));
  EXPECT_EQ(next.groups(0).cohort_size(), 4);
  EXPECT_EQ(world.device(2).session_key().round(), 0u);
}

// --- too few

TEST(EvilClientTest, A2FewerKeysThanTheSmallestCohortAreNotEnough) {
  TlsWorld world(5);
  absl::Notification left;
  for (const uint32_t slow : {2, 3, 4}) {
    world.device(slow).to_server = [&](Body&) {
      left.WaitForNotification();
      return true;
    };
  }
  world.Submit();
  world.WaitUntil([&](const v1::RunStatus&) {
    return world.CountEvents("sent its keys") == 2;
  });
  world.coordinator().SetDenied(
      {world.fleet.members[0].name, world.fleet.members[1].name});
  world.WaitUntil([&](const v1::RunStatus&) {
    return world.CountEvents("the device is denied") == 2;
  });
  left.Notify();
  EXPECT_TRUE(world.WaitEvent("NOT_ENOUGH: 3 clients sent keys"));
}

struct Vanishing {
  const char* name;
  Body::BodyCase instead_of;
  const char* code;
};
class VanishingTest : public ::testing::TestWithParam<Vanishing> {};

// Of five (t = 4) two leave at once: one more than the session can bear.
TEST_P(VanishingTest, A2OneMoreThanTheSessionBearsEndsItWithoutASum) {
  TlsWorld world(5);
  for (const uint32_t gone : {1, 3}) {
    world.device(gone).to_server = [](Body& message) {
      if (message.body_case() == GetParam().instead_of) {
        message.set_abort(v1::INTERNAL);
      }
      return true;
    };
  }
  world.Submit();
  ExpectNothingPublished(world, std::string("abandoned: ") + GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(
    A2, VanishingTest,
    ::testing::Values(
        Vanishing{"BeforeTheirInput", Body::kInput, "NOT_ENOUGH"},
        Vanishing{"BeforeTheySign", Body::kSurvivors, "TOO_FEW_SIGS"},
        Vanishing{"BeforeTheirShares", Body::kUnmask, "NOT_ENOUGH"}),
    [](const auto& info) { return info.param.name; });

// Nobody can see a single weight; their sum must be possible.
TEST(EvilClientTest, AWeightThatCannotBeEndsTheRun) {
  TlsWorld world(5);
  world.run.plan.mutable_rounds()->set_weights("examples");
  for (uint32_t i = 0; i < 5; ++i) world.device(i).weight = 1e-12;
  world.Submit();
  const v1::RunStatus status = world.WaitUntil([](const v1::RunStatus& s) {
    return s.state() == v1::RunStatus::FAILED;
  });
  EXPECT_THAT(status.detail(), HasSubstr("the weights sum to 0"));
}

// --- two answers

// Another commitment, signed as well: both are kept.
TEST(EvilClientTest, A5ASecondDifferentAnswerIsAReplayAndEvidence) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(2);
  liar.to_server = [&](Body& message) {
    if (!message.has_shares()) return true;
    liar.Send(message);
    message.mutable_shares()->set_commitment(std::string(32, 'c'));
    liar.Sign(message);
    return true;
  };
  world.Submit();
  EXPECT_TRUE(world.WaitEvent("refused a masking message of " +
                              liar.member.name + ": REPLAY"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  const auto rows = world.Rows("SELECT device, document FROM secagg_evidence");
  ASSERT_THAT(rows, Not(IsEmpty()));
  EXPECT_EQ(std::get<std::string>(rows[0][0]), liar.member.name);
  v1::Contradiction proof;
  EXPECT_TRUE(proof.ParseFromString(std::get<Blob>(rows[0][1]).bytes));
  ASSERT_THAT(proof.statements(), SizeIs(2));
  for (const v1::SignedStatement& said : proof.statements()) {
    EXPECT_TRUE(liar.member.identity.public_key().Verify(said.statement(),
                                                         said.signature()));
  }
}

// Nothing above fails because nothing works: product at both ends.
TEST(EvilClientTest, AnHonestFleetOfRealClientsFinishesItsRun) {
  TlsWorld world(4);
  world.run.plan.mutable_rounds()->set_count(1);
  for (uint32_t i = 0; i < 4; ++i) world.UseRealClient(i);
  world.Submit();
  const v1::RunStatus status = world.WaitUntil([](const v1::RunStatus& s) {
    return s.state() == v1::RunStatus::FINISHED;
  });
  EXPECT_EQ(status.receipts_size(), 2);
  EXPECT_EQ(status.scores_size(), 0);
}

}  // namespace
}  // namespace edgetune
