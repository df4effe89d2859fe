// A17 and A23: messages that cannot be, from a device with a good certificate.
// Each is refused with its code; nobody else notices.

#include <gmock/gmock.h>
#include <malloc.h>

#include <fstream>
#include <latch>
#include <optional>

#include "privacy/secagg/encoding.h"
#include "tests/secagg/tls_world.h"

namespace edgetune {
namespace {

using testing::ScriptedDevice;
using testing::TlsWorld;
using Body = ScriptedDevice::Body;

constexpr uint32_t kLiar = 2;

struct Lie {
  Body::BodyCase instead_of;  // said before that honest message
  v1::AbortCode code;
  std::function<void(Body&)> tell;
};

const std::vector<Lie>& Lies() {
  static const auto* const lies = new std::vector<Lie>{
      // Counts and lengths.
      {Body::kShares, v1::LENGTH,
       [](Body& m) { m.mutable_shares()->mutable_commitment()->pop_back(); }},
      {Body::kShares, v1::LENGTH,
       [](Body& m) {
         m.mutable_shares()->mutable_ciphertexts()->RemoveLast();
       }},
      {Body::kShares, v1::LENGTH,
       [](Body& m) { m.mutable_shares()->clear_ciphertexts(); }},
      {Body::kShares, v1::LENGTH,
       [](Body& m) {
         m.mutable_shares()->add_ciphertexts(std::string(92, 'x'));
       }},
      {Body::kShares, v1::LENGTH,
       [](Body& m) {
         m.mutable_shares()->mutable_ciphertexts(0)->push_back('x');
       }},
      {Body::kShares, v1::LENGTH,
       [](Body& m) { m.mutable_shares()->clear_signature(); }},
      {Body::kShares, v1::LENGTH,
       [](Body& m) { m.mutable_shares()->mutable_session()->pop_back(); }},
      {Body::kAck, v1::LENGTH, [](Body& m) { m.mutable_ack()->add_bad(5); }},
      {Body::kAck, v1::LENGTH,
       [](Body& m) { m.mutable_ack()->add_bad(kLiar); }},
      {Body::kAck, v1::LENGTH,
       [](Body& m) {
         m.mutable_ack()->add_bad(1);
         m.mutable_ack()->add_bad(0);
       }},
      {Body::kAck, v1::LENGTH,
       [](Body& m) { m.mutable_ack()->mutable_bad()->Resize(1'000'000, 0); }},
      {Body::kInput, v1::LENGTH,
       [](Body& m) { m.mutable_input()->set_total_length(0); }},
      {Body::kInput, v1::LENGTH,
       [](Body& m) { m.mutable_input()->set_total_length(1); }},
      {Body::kInput, v1::LENGTH,
       [](Body& m) {
         m.mutable_input()->set_total_length(m.input().total_length() - 1);
       }},
      {Body::kInput, v1::LENGTH,
       [](Body& m) {
         m.mutable_input()->set_total_length(m.input().total_length() + 1);
       }},
      {Body::kInput, v1::LENGTH,
       [](Body& m) { m.mutable_input()->set_total_length(uint64_t{1} << 31); }},
      {Body::kInput, v1::LENGTH,
       [](Body& m) { m.mutable_input()->mutable_signature()->pop_back(); }},
      {Body::kSurvivors, v1::LENGTH,
       [](Body& m) { m.mutable_survivors()->clear_signature(); }},
      {Body::kUnmask, v1::LENGTH,
       [](Body& m) { m.mutable_unmask()->mutable_b_shares()->RemoveLast(); }},
      {Body::kUnmask, v1::LENGTH,
       [](Body& m) {
         *m.mutable_unmask()->add_b_shares() = m.unmask().b_shares(0);
       }},
      {Body::kUnmask, v1::LENGTH,
       [](Body& m) {
         *m.mutable_unmask()->add_s_shares() = m.unmask().b_shares(0);
       }},
      {Body::kUnmask, v1::LENGTH,
       [](Body& m) { m.mutable_unmask()->mutable_b_shares(0)->set_index(1); }},
      {Body::kUnmask, v1::LENGTH,
       [](Body& m) {
         m.mutable_unmask()->mutable_b_shares(0)->mutable_share()->pop_back();
       }},
      // Of another session or time.
      {Body::kShares, v1::REPLAY,
       [](Body& m) { m.mutable_shares()->set_session(std::string(32, 's')); }},
      {Body::kShares, v1::REPLAY,
       [](Body& m) { m.mutable_ack()->set_session(std::string(32, 's')); }},
      {Body::kSurvivors, v1::REPLAY,
       [](Body& m) {
         m.mutable_survivors()->set_session(std::string(32, 's'));
       }},
      // A18: what another key signed.
      {Body::kShares, v1::BAD_SIGNATURE,
       [](Body& m) {
         m.mutable_shares()->set_signature(std::string(64, 's'));
       }},
      {Body::kAck, v1::BAD_SIGNATURE,
       [](Body& m) { m.mutable_ack()->set_signature(std::string(64, 's')); }},
      {Body::kInput, v1::BAD_SIGNATURE,
       [](Body& m) { m.mutable_input()->set_signature(std::string(64, 's')); }},
      {Body::kSurvivors, v1::BAD_SIGNATURE,
       [](Body&
              m) { m.mutable_survivors()->set_signature(std::string(64, 's')); }},
      {Body::kUnmask, v1::BAD_SIGNATURE, [](Body& m) {
         m.mutable_unmask()->set_signature(std::string(64, 's'));
       }}};
  return *lies;
}

size_t CountLies(v1::AbortCode code) {
  return static_cast<size_t>(std::ranges::count(
      Lies(), code, [](const Lie& lie) { return lie.code; }));
}

TEST(EvilMessagesTest, A17EveryLieIsRefusedAndTheTruthAfterItTaken) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(kLiar);
  liar.to_server = [&](Body& honest) {
    for (const Lie& lie : Lies()) {
      if (lie.instead_of != honest.body_case()) continue;
      Body bent = honest;
      lie.tell(bent);
      liar.Send(bent);
    }
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 3, 4});
  const std::string refused =
      "refused a masking message of " + liar.member.name + ": ";
  for (const v1::AbortCode code : {v1::LENGTH, v1::REPLAY, v1::BAD_SIGNATURE}) {
    // Later rounds tell the same lies again.
    EXPECT_GE(world.CountEvents(refused + v1::AbortCode_Name(code)),
              CountLies(code));
  }
}

TEST(EvilMessagesTest, A17UnknownFieldsChangeNothing) {
  TlsWorld world(5);
  world.device(kLiar).to_server = [](Body& message) {
    message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(
        999, std::string(1000, 'u'));
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  world.ExpectAdapterIsMeanOf({0, 1, 2, 3, 4});
}

TEST(EvilMessagesTest, A17AnUnknownAbortCodeIsALength) {
  TlsWorld world(5);
  world.device(kLiar).to_server = [](Body& message) {
    if (message.has_ack()) message.set_abort(static_cast<v1::AbortCode>(99));
    return true;
  };
  world.Submit();
  EXPECT_TRUE(world.WaitEvent(world.fleet.members[kLiar].name +
                              " left the masking session: LENGTH"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
}

// A message without a body the server knows closes the stream it came on.
TEST(EvilMessagesTest, A17AMessageOfAnUnknownKindClosesItsStreamAlone) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(kLiar);
  liar.to_server = [&](Body& message) {
    if (message.has_ack()) message.clear_body();
    return true;
  };
  world.Submit();
  EXPECT_TRUE(liar.WaitDown());
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
}

// --- of no session, or before there is one

// An ack with a signature of 63 bytes, which would be refused by name.
void SpoilAck(Body& message) {
  message.mutable_ack()->set_signature(std::string(63, 's'));
}

TEST(EvilMessagesTest, A17AMessageOfAnotherAttemptChangesNothing) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(kLiar);
  liar.to_server = [&](Body& honest) {
    if (!honest.has_ack()) return true;
    v1::ClientMessage stray;
    *stray.mutable_secagg()->mutable_session() = liar.session_key();
    stray.mutable_secagg()->mutable_session()->set_attempt(7);
    *stray.mutable_secagg()->mutable_message() = honest;
    SpoilAck(*stray.mutable_secagg()->mutable_message());
    liar.SendRaw(stray);
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  EXPECT_EQ(world.CountEvents("refused a masking message"), 0u);
  EXPECT_EQ(liar.OutcomeAt(0).session().attempt(), 7u);
  EXPECT_EQ(liar.OutcomeAt(0).result(), v1::Outcome::CANCELLED);
}

TEST(EvilMessagesTest, A17AMessageBeforeThereIsACohortChangesNothing) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(kLiar);
  liar.to_server = [&](Body& honest) {
    if (!honest.has_advertise()) return true;
    Body early;
    SpoilAck(early);
    liar.Send(early);
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
}

TEST(EvilMessagesTest, A17WhoWasRefusedIsToldAgain) {
  TlsWorld world(5);
  world.run.plan.mutable_rounds()->set_count(1);
  ScriptedDevice& liar = world.device(kLiar);
  liar.to_server = [](Body& message) {
    if (message.has_advertise()) {
      message.mutable_advertise()->set_signature(std::string(64, 's'));
    }
    return true;
  };
  world.Submit();
  ASSERT_TRUE(liar.WaitOutcomes(1));
  Body again;
  SpoilAck(again);
  liar.Send(again);
  ASSERT_TRUE(liar.WaitOutcomes(2));
  EXPECT_EQ(liar.OutcomeAt(1).result(), v1::Outcome::REFUSED);
  EXPECT_EQ(liar.OutcomeAt(1).session().SerializeAsString(),
            liar.OutcomeAt(0).session().SerializeAsString());
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
}

// --- A30: what would be one device's number

TEST(EvilMessagesTest, A30AReportInTheClearIsRefused) {
  TlsWorld world(5);
  ScriptedDevice& open = world.device(kLiar);
  open.to_server = [&](Body& message) {
    if (!message.has_advertise()) return true;
    v1::ClientMessage clear;
    *clear.mutable_report()->mutable_session() = open.session_key();
    clear.mutable_report()->set_update_digest(std::string(32, 'd'));
    clear.mutable_report()->set_weight(1);
    open.SendRaw(clear);
    return false;
  };
  world.Submit();
  ASSERT_TRUE(open.WaitOutcomes(1));
  EXPECT_EQ(open.OutcomeAt(0).result(), v1::Outcome::REFUSED);
  EXPECT_THAT(open.OutcomeAt(0).detail(), ::testing::HasSubstr("in the clear"));
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
}

TEST(EvilMessagesTest, A30ALossIsNotShown) {
  TlsWorld world(5);
  ScriptedDevice& open = world.device(kLiar);
  std::latch looked_at(1);
  bool told = false;
  open.to_server = [&](Body& message) {
    if (!message.has_advertise() || told) return true;
    told = true;
    v1::ClientMessage progress;
    *progress.mutable_progress()->mutable_session() = open.session_key();
    progress.mutable_progress()->set_phase(v1::Progress::TRAINING);
    progress.mutable_progress()->set_step(7);
    progress.mutable_progress()->set_loss(3.5);
    open.SendRaw(progress);
    looked_at.wait();
    return true;
  };
  world.Submit();
  std::optional<v1::ClientStatus> shown;
  world.WaitUntil([&](const v1::RunStatus& status) {
    for (const v1::ClientStatus& client : status.clients()) {
      if (client.step() == 7) shown = client;
    }
    return shown.has_value();
  });
  looked_at.count_down();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  ASSERT_TRUE(shown.has_value());
  EXPECT_EQ(shown->device_id(), open.member.name);
  EXPECT_EQ(shown->loss(), 0);
}

// Resident pages of this process, with what malloc holds back given away.
size_t ResidentBytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

TEST(EvilMessagesTest, A17AMillionRepeatedFieldsLeaveNoMemoryBehind) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(kLiar);
  size_t before = 0;
  liar.to_server = [&](Body& honest) {
    if (!honest.has_shares() || before != 0) return true;
    before = ResidentBytes();
    Body flood = honest;
    for (int i = 0; i < 500'000; ++i) flood.mutable_shares()->add_ciphertexts();
    // Two million empty fields in all.
    for (int i = 0; i < 4; ++i) liar.Send(flood);
    return true;
  };
  world.Submit();
  EXPECT_EQ(world.WaitReceipt().survivors(), 5u);
  // The fields of each of the four take 80 MB in memory. This process holds liar
  // and coordinator, whose threads' allocators keep some pages: measured up to
  // 42 MB on a busy machine, 19 MB on a quiet one.
  EXPECT_LT(ResidentBytes(), before + (64u << 20));
}

// --- A23

struct Size {
  const char* name;
  size_t bytes;
};
class OversizeTest : public ::testing::TestWithParam<Size> {};

TEST_P(OversizeTest, A23EndsItsOwnStreamAndNobodyElses) {
  TlsWorld world(5);
  ScriptedDevice& liar = world.device(kLiar);
  liar.to_server = [&](Body& message) {
    if (!message.has_ack()) return true;
    v1::ClientMessage large;
    std::string& text = *large.mutable_hello()->mutable_population();
    text.assign(GetParam().bytes - 16, 'x');
    while (large.ByteSizeLong() < GetParam().bytes) text.push_back('x');
    liar.SendRaw(large);
    return false;
  };
  world.Submit();
  EXPECT_TRUE(liar.WaitDown());
  EXPECT_TRUE(absl::IsResourceExhausted(liar.down())) << liar.down();
  EXPECT_EQ(world.WaitReceipt().survivors(), 4u);
  world.ExpectAdapterIsMeanOf({0, 1, 3, 4});
  for (const uint32_t honest : {0, 1, 3, 4}) {
    // An attempt to connect that failed before, on a busy machine, is nothing.
    EXPECT_EQ(world.device(honest).ended_streams(), 0u)
        << world.device(honest).down();
  }
}

INSTANTIATE_TEST_SUITE_P(
    A23, OversizeTest,
    ::testing::Values(Size{"OneMebibyteAndOne", (1 << 20) + 1},
                      Size{"FourMebibytesAndOne", (4 << 20) + 1}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace edgetune
