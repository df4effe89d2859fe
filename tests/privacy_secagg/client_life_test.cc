// The life of SecAggClient beside the protocol: repeated messages, aborts in
// every phase, failing randomness, and what is left in memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Body = v1::SecAggClientMessage;
using Kind = SecAggClient::Action::Kind;
using Phase = SecAggClient::Phase;

std::vector<Kind> Kinds(const SecAggClient::Actions& actions) {
  std::vector<Kind> kinds;
  for (const auto& action : actions) kinds.push_back(action.kind);
  return kinds;
}

// Calls `probe` each time the victim has just sent something, with what it was
// told before and what it sends; it gets each phase from Advertised on.
void AtEachPhase(
    const std::function<void(Harness&, const v1::SecAggServerMessage&,
                             const v1::SecAggClientMessage&)>& probe) {
  Harness session(FleetOfFive(), Five());
  v1::SecAggServerMessage last;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) last = message;
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index == kVictim) probe(session, last, message);
    return true;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

// Leaves a session in which the victim has sent `last`, and nothing after.
void RunUntil(Body::BodyCase last, Harness& session) {
  session.keep_clients = true;
  session.to_client = [&session, last](uint32_t index,
                                       v1::SecAggServerMessage&) {
    const Phase phase = session.clients[kVictim].party->phase();
    return index != kVictim || static_cast<int>(phase) <= last - 1;
  };
  session.Run();
}

constexpr Body::BodyCase kBodies[] = {Body::kShares, Body::kAck, Body::kInput,
                                      Body::kSurvivors, Body::kUnmask};

TEST(SecAggClientLifeTest, TheSameMessageGetsTheSameAnswerInEveryPhase) {
  int phases = 0;
  AtEachPhase([&](Harness& session, const auto& told, const auto& sent) {
    const auto again = session.Tell(kVictim, told);
    ASSERT_THAT(again, SizeIs(1));
    ++phases;
    if (sent.has_input()) {
      EXPECT_EQ(again[0].kind, Kind::kUpload);
      EXPECT_EQ(Sha256Bytes(again[0].masked), sent.input().digest());
      return;
    }
    EXPECT_EQ(again[0].kind, Kind::kSend);
    EXPECT_EQ(again[0].message.SerializeAsString(), sent.SerializeAsString());
  });
  EXPECT_EQ(phases, 5);
}

TEST(SecAggClientLifeTest, ANewStreamGetsTheLastAnswerInEveryPhase) {
  int phases = 0;
  AtEachPhase([&](Harness& session, const auto&, const auto& sent) {
    const auto again = session.clients[kVictim].party->Resend();
    ASSERT_THAT(Kinds(again), ElementsAre(Kind::kSend));
    EXPECT_EQ(again[0].message.SerializeAsString(), sent.SerializeAsString());
    ++phases;
  });
  EXPECT_EQ(phases, 5);
}

TEST(SecAggClientLifeTest, NothingIsResentWhileTheVectorIsStillLeaving) {
  Harness session(FleetOfFive(), Five());
  session.upload = [&](uint32_t index, std::string&) {
    if (index != kVictim) return;
    EXPECT_EQ(session.clients[kVictim].party->phase(), Phase::kMasked);
    EXPECT_THAT(session.clients[kVictim].party->Resend(), IsEmpty());
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

// An old message that comes once more after R5 gets nothing: only the answer
// to R5 is left.
TEST(SecAggClientLifeTest, AfterUnmaskingOnlyItsAnswerIsRepeated) {
  Harness session(FleetOfFive(), Five());
  std::vector<v1::SecAggServerMessage> told;
  std::vector<size_t> answers;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) told.push_back(message);
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index != kVictim || !message.has_unmask()) return true;
    for (const auto& old : told) {
      answers.push_back(session.Tell(kVictim, old).size());
    }
    return true;
  };
  session.Run();
  EXPECT_THAT(answers, ElementsAre(0, 0, 0, 0, 1));
}

TEST(SecAggClientLifeTest, ItIsSpentBeforeTheFirstByteLeaves) {
  Harness session(FleetOfFive(), Five());
  RunUntil(Body::kAck, session);
  EXPECT_FALSE(session.clients[kVictim].party->spent());
  v1::SecAggServerMessage open;
  open.mutable_open()->set_session(
      BytesOf(session.clients[kVictim].party->session()));
  const auto actions = session.Tell(kVictim, open);
  EXPECT_THAT(Kinds(actions), ElementsAre(Kind::kSpend, Kind::kUpload));
  EXPECT_EQ(actions[0].session, session.server->session());
  EXPECT_TRUE(session.clients[kVictim].party->spent());
}

TEST(SecAggClientLifeTest, ASurvivorSetIsRememberedBeforeItIsSigned) {
  Harness session(FleetOfFive(), Five());
  v1::SecAggServerMessage freeze;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index != kVictim || !message.has_freeze()) return true;
    const auto actions = session.Tell(kVictim, message);
    EXPECT_THAT(Kinds(actions), ElementsAre(Kind::kRemember, Kind::kSend));
    v1::SignedStatement document;
    EXPECT_TRUE(document.ParseFromString(actions[0].document));
    EXPECT_TRUE(session.fleet.round_key.public_key().Verify(
        document.statement(), document.signature()));
    return true;
  };
  session.Run();
  EXPECT_TRUE(session.Committed());
}

v1::SecAggServerMessage EmptyOfStep(int step) {
  v1::SecAggServerMessage message;
  if (step == 0) message.mutable_cohort();
  if (step == 1) message.mutable_shares();
  if (step == 2) message.mutable_open();
  if (step == 3) message.mutable_freeze();
  if (step == 4) message.mutable_unmask();
  return message;
}

TEST(SecAggClientLifeTest, AMessageBeforeItsTimeIsAReplay) {
  for (int sent = 0; sent < 4; ++sent) {
    // The victim waits for step `sent` + 1.
    for (int step = sent + 2; step < 5; ++step) {
      Harness session(FleetOfFive(), Five());
      RunUntil(kBodies[sent], session);
      const auto actions = session.Tell(kVictim, EmptyOfStep(step));
      ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kSend, Kind::kAborted));
      EXPECT_EQ(actions[0].message.abort(), v1::REPLAY);
      EXPECT_EQ(actions[1].code, v1::REPLAY);
    }
  }
}

TEST(SecAggClientLifeTest, AFreezeBeforeTheVectorLeftIsAReplay) {
  Harness session(FleetOfFive(), Five());
  std::optional<SecAggClient::Actions> answer;
  session.upload = [&](uint32_t index, std::string&) {
    if (index == kVictim) answer = session.Tell(kVictim, EmptyOfStep(3));
  };
  session.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->back().code, v1::REPLAY);
}

TEST(SecAggClientLifeTest, AMessageOfAnUnknownKindIsALengthError) {
  Harness session(FleetOfFive(), Five());
  RunUntil(Body::kShares, session);
  const auto actions = session.Tell(kVictim, {});
  EXPECT_EQ(actions.back().code, v1::LENGTH);
}

TEST(SecAggClientLifeTest, TheCoordinatorsAbortEndsEveryPhaseQuietly) {
  for (const Body::BodyCase body : kBodies) {
    Harness session(FleetOfFive(), Five());
    RunUntil(body, session);
    // The coordinator ended it while the victim waited.
    v1::SecAggServerMessage abort;
    abort.set_abort(v1::BAD_SHARE);
    SecAggClient& party = *session.clients[kVictim].party;
    const auto actions = session.Tell(kVictim, abort);
    ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kAborted));
    EXPECT_EQ(actions[0].code, v1::BAD_SHARE);
    EXPECT_EQ(party.phase(), Phase::kAborted);
    EXPECT_THAT(session.Tell(kVictim, abort), IsEmpty());
    EXPECT_THAT(party.Resend(), IsEmpty());
    EXPECT_THAT(party.Fail(v1::DEADLINE, ""), IsEmpty());
  }
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

TEST(SecAggClientLifeTest, TheShellCanLeaveInEveryPhase) {
  AtEachPhase([&](Harness&, const auto&, const auto& sent) {
    Harness session(FleetOfFive(), Five());
    RunUntil(sent.body_case(), session);
    SecAggClient& party = *session.clients[kVictim].party;
    const auto actions = party.Fail(v1::DEADLINE, "nobody answers");
    ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kSend, Kind::kAborted));
    EXPECT_EQ(actions[0].message.abort(), v1::DEADLINE);
    EXPECT_EQ(actions[1].detail, "DEADLINE: nobody answers");
    EXPECT_EQ(party.phase(), Phase::kAborted);
    EXPECT_THAT(party.Uploaded(), IsEmpty());
  });
}

TEST(SecAggClientLifeTest, AClientThatEndedOrNeverBeganIsSilent) {
  Harness session(FleetOfFive(), Five());
  SecAggClient& fresh = *session.clients[0].party;
  EXPECT_THAT(fresh.Handle(EmptyOfStep(0)), IsEmpty());
  EXPECT_THAT(fresh.Resend(), IsEmpty());
  session.Run();
  EXPECT_EQ(fresh.phase(), Phase::kDone);
  EXPECT_THAT(fresh.Handle(EmptyOfStep(4)), IsEmpty());
  EXPECT_THAT(fresh.Resend(), IsEmpty());
}

// Gives out bytes and keeps them, changed, to look for them later.
class RememberingRandom final : public RandomSource {
 public:
  explicit RememberingRandom(int calls) : calls_left(calls) {}
  absl::Status Fill(std::span<uint8_t> out) override {
    if (calls_left-- <= 0) return absl::InternalError("no randomness");
    ++calls;
    EXPECT_TRUE(random_.Fill(out).ok());
    for (size_t at = 0; at + 32 <= out.size(); at += 32) {
      std::string& kept = drawn.emplace_back();
      for (size_t i = 0; i < 32; ++i) {
        kept.push_back(static_cast<char>(out[at + i] ^ 0x5A));
      }
    }
    return absl::OkStatus();
  }

  int calls_left;
  int calls = 0;
  std::vector<std::string> drawn;

 private:
  SeededRandom random_ = Seeded(77);
};

// Five clients by hand, the victim with its own source of randomness.
struct ByHand {
  explicit ByHand(RandomSource& random) : session(FleetOfFive(), Five()) {
    SecAggClient::Options options;
    options.manifest = session.manifest;
    options.id = session.fleet.members[kVictim].id;
    options.identity = &session.fleet.identities[kVictim];
    options.coordinator = {session.fleet.round_key.public_key()};
    options.roster = session.fleet.root();
    options.shape = session.options.shape;
    options.random = &random;
    session.clients[kVictim].party.emplace(std::move(options));
  }
  Harness session;
};

TEST(SecAggClientLifeTest, A28WithoutRandomnessItAbortsAndSharesNothing) {
  RememberingRandom whole(1000);
  ByHand complete(whole);
  complete.session.Run();
  ASSERT_TRUE(complete.session.Committed());
  ASSERT_GT(whole.calls, 8);
  // The first three draws make the advertisement.
  for (int calls = 3; calls < whole.calls; ++calls) {
    RememberingRandom random(calls);
    ByHand broken(random);
    std::set<Body::BodyCase> sent;
    broken.session.to_server = [&](uint32_t index, auto& message) {
      if (index == kVictim) sent.insert(message.body_case());
      return true;
    };
    broken.session.Run();
    EXPECT_EQ(broken.session.clients[kVictim].aborted, v1::INTERNAL);
    EXPECT_THAT(sent, ElementsAre(Body::kAbort));
  }
}

TEST(SecAggClientLifeTest, A28WithoutRandomnessItDoesNotAdvertise) {
  for (int calls = 0; calls < 3; ++calls) {
    RememberingRandom random(calls);
    ByHand broken(random);
    SecAggClient& party = *broken.session.clients[kVictim].party;
    const auto actions =
        party.Start(RingVector(broken.session.options.shape.size()));
    ASSERT_THAT(Kinds(actions), ElementsAre(Kind::kSend, Kind::kAborted));
    EXPECT_EQ(actions[1].code, v1::INTERNAL);
  }
}

// Writable memory of this process, region by region.
std::vector<std::span<const char>> WritableMemory() {
  std::vector<std::span<const char>> regions;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, mode) != 3) {
      continue;
    }
    if (std::string_view(mode) != "rw-p") continue;
    regions.emplace_back(reinterpret_cast<const char*>(begin), end - begin);
  }
  return regions;
}

// How many of the draws lie in memory as they were given out.
size_t CountInMemory(const RememberingRandom& random) {
  size_t found = 0;
  for (const std::string& kept : random.drawn) {
    // Put together a byte at a time and wiped, so that it finds itself once at
    // most: in this array, which is not searched.
    char secret[32];
    for (size_t i = 0; i < 32; ++i) {
      secret[i] = static_cast<char>(kept[i] ^ 0x5A);
    }
    for (const auto& region : WritableMemory()) {
      for (const char* at = region.data();;) {
        at = static_cast<const char*>(memmem(
            at, region.data() + region.size() - at, secret, sizeof(secret)));
        if (at == nullptr) break;
        if (at != secret) {
          ++found;
          break;
        }
        ++at;
      }
    }
    WipeBytes({reinterpret_cast<uint8_t*>(secret), sizeof(secret)});
  }
  return found;
}

// Secret keys, the seed and the polynomials' coefficients are draws of 32
// bytes. They are in memory while they are needed, and gone after R5.
TEST(SecAggClientLifeTest, I5SecretsAreGoneFromMemoryAfterTheLastAnswer) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers map more memory than can be searched";
#endif
  RememberingRandom random(1000);
  ByHand hand(random);
  size_t before = 0, after = 1000;
  hand.session.to_client = [&](uint32_t index, v1::SecAggServerMessage& m) {
    if (index == kVictim && m.has_cohort()) before = CountInMemory(random);
    return true;
  };
  hand.session.to_server = [&](uint32_t index, v1::SecAggClientMessage& m) {
    if (index == kVictim && m.has_unmask()) after = CountInMemory(random);
    return true;
  };
  hand.session.Run();
  EXPECT_TRUE(hand.session.Committed());
  EXPECT_GE(before, 2u);
  EXPECT_EQ(after, 0u);
}

TEST(SecAggClientLifeTest, I5SecretsAreGoneFromMemoryAfterAnAbort) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers map more memory than can be searched";
#endif
  RememberingRandom random(1000);
  ByHand hand(random);
  RunUntil(Body::kShares, hand.session);
  EXPECT_GE(CountInMemory(random), 1u);
  hand.session.clients[kVictim].party->Fail(v1::INTERNAL, "");
  EXPECT_EQ(CountInMemory(random), 0u);
}

// Kilobytes of a line such as "VmHWM:  1234 kB".
size_t MemoryOf(std::string_view what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(what)) return std::stoul(line.substr(what.size()));
  }
  return 0;
}

// The vector is masked in its own place: beside it there is the packed copy
// that leaves, and no mask ever exists whole.
TEST(SecAggClientLifeTest, MaskingTakesTwiceTheVector) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep freed memory";
#endif
  Harness::Options options = Five();
  options.shape = ShapeOf(32, 5, 12'000'000);
  Harness session(FleetOfFive(), options);
  size_t growth = 0;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index != kVictim || !message.has_open()) return index != kVictim;
    std::ofstream("/proc/self/clear_refs") << "5";
    const size_t before = MemoryOf("VmRSS:");
    session.Tell(kVictim, message);
    growth = MemoryOf("VmHWM:") - before;
    return false;
  };
  session.Run();
  const size_t vector_kb = options.shape.byte_size() / 1024;
  EXPECT_LT(growth, vector_kb * 3 / 2);
}

}  // namespace
}  // namespace edgetune::secagg
