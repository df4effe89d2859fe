// Every message of a member, and every call, in every phase of SecAggServer:
// the table of its header, cell by cell.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using Said = v1::SecAggClientMessage;
using Kind = SecAggServer::Action::Kind;
using Phase = SecAggServer::Phase;

// Holds back its answer in the phase that is looked at, so that it stays open.
constexpr uint32_t kSlow = 4;

// The phase that a message answers; keys and aborts answer none.
int StepOf(const Said& message) { return message.body_case() - Said::kShares; }
constexpr int kSteps = 5;

// What the victim says in an honest session. Equal seeds give equal bytes, so
// these fit every session of this file.
const std::array<Said, kSteps>& HonestAnswers() {
  static const auto* const answers = [] {
    auto* made = new std::array<Said, kSteps>();
    Harness session(FleetOfFive(), Five());
    session.to_server = [&](uint32_t index, Said& message) {
      if (index == kVictim) (*made)[StepOf(message)] = message;
      return true;
    };
    session.Run();
    EXPECT_TRUE(session.Committed());
    return made;
  }();
  return *answers;
}

// How a session came to its phase.
struct Way {
  Phase phase;
  int silent_from = kSteps;  // the first step that the victim does not answer
};

// All R5 answers in hand, and no shell behind: Verifying lasts.
void Verify(int silent_from, Harness& session) {
  std::map<uint32_t, Said> answers;
  session.to_server = [&](uint32_t index, Said& message) {
    if (index == kVictim && StepOf(message) >= silent_from) return false;
    if (!message.has_unmask()) return true;
    answers[index] = message;
    return false;
  };
  while (session.server->phase() < Phase::kUnmask ||
         answers.size() < (silent_from < kSteps ? 4u : 5u)) {
    session.Step();
  }
  for (const auto& [index, message] : answers) {
    session.server->Handle(index, message, session.now);
  }
  session.now =
      std::min(session.server->NextTimer(), session.now + absl::Seconds(100));
  session.server->Timer(session.now);
  session.to_server = nullptr;
}

void Bring(const Way& way, Harness& session) {
  session.keep_clients = true;
  session.Begin();
  if (way.phase >= Phase::kVerifying) {
    Verify(way.silent_from, session);
    if (way.phase == Phase::kDone) session.server->Finished();
    if (way.phase == Phase::kAborted) session.server->Fail(v1::INTERNAL, "");
  } else {
    const int step = static_cast<int>(way.phase);
    session.to_server = [=](uint32_t index, Said& message) {
      if (index == kVictim) return StepOf(message) < way.silent_from;
      return index != kSlow || StepOf(message) != step;
    };
    while (session.server->phase() < way.phase) session.Step();
    while (way.silent_from > step && session.server->Awaits(kVictim)) {
      session.Step();
    }
  }
  ASSERT_EQ(session.server->phase(), way.phase);
}

std::string NameOf(const v1::SecAggServerMessage& message) {
  return std::array{"", "cohort", "shares", "open", "freeze", "unmask", "abort"}
      [message.body_case()];
}

// An action as a word. Nothing for what is sent to others than the victim.
std::string WordOf(const SecAggServer::Action& action) {
  switch (action.kind) {
    case Kind::kRecord:
      return " record";
    case Kind::kSend:
      return action.index == kVictim ? " send-" + NameOf(*action.message) : "";
    case Kind::kRefuse:
      EXPECT_EQ(action.index, kVictim);
      return " " + v1::AbortCode_Name(action.code) +
             (action.document.empty() ? "" : "+evidence");
    case Kind::kLeft:
      return " left-" + v1::AbortCode_Name(action.code);
    case Kind::kFold:
      return " fold";
    case Kind::kLate:
      return " late";
    case Kind::kBlame:
      return " blame";
    case Kind::kUnmask:
      return " unmask";
    case Kind::kAborted:
      return " aborted-" + v1::AbortCode_Name(action.code);
  }
  return " unknown";
}

// What a call did, one word an action; "-" for nothing.
std::string Did(const Way& way,
                const std::function<SecAggServer::Actions(SecAggServer&,
                                                          absl::Time)>& call) {
  Harness session(FleetOfFive(), Five());
  Bring(way, session);
  std::string words;
  for (const auto& action : call(*session.server, session.now)) {
    words += WordOf(action);
  }
  return words.empty() ? "-" : words.substr(1);
}

std::string DidOn(const Way& way, const Said& message) {
  return Did(way, [&](SecAggServer& server, absl::Time now) {
    return server.Handle(kVictim, message, now);
  });
}

constexpr Phase kPhases[] = {
    Phase::kShares, Phase::kAcks,      Phase::kInput, Phase::kSurvivors,
    Phase::kUnmask, Phase::kVerifying, Phase::kDone,  Phase::kAborted};
using PhaseRow = std::array<std::string, kSteps>;

// The victim answered everything before, and nothing from this step on.
TEST(SecAggServerTableTest, EveryFirstMessageInEveryPhase) {
  const std::string late = "DEADLINE", early = "REPLAY";
  const std::vector<PhaseRow> table = {
      {"record", early, early, early, early},
      {late, "record", early, early, early},
      {late, late, "record fold", early, early},
      {late, late, "late", "record", early},
      {late, late, "late", late, "record"},
      {late, late, "late", late, late},
      {"-", "-", "-", "-", "-"},
      {"-", "-", "-", "-", "-"}};
  for (const Phase phase : kPhases) {
    for (int step = 0; step < kSteps; ++step) {
      const Way way = {phase, std::min(step, static_cast<int>(phase))};
      EXPECT_EQ(DidOn(way, HonestAnswers()[step]),
                table[static_cast<size_t>(phase)][step])
          << PhaseName(phase) << " message " << step;
    }
  }
}

// Who fell silent is not asked the next question. Its shares are not even of
// the right number once it is not among the survivors.
TEST(SecAggServerTableTest, EveryMessageOfWhoWasNotAsked) {
  constexpr int kSurvivors = static_cast<int>(Phase::kSurvivors);
  constexpr int kUnmask = static_cast<int>(Phase::kUnmask);
  for (const Phase phase : {Phase::kAcks, Phase::kInput, Phase::kSurvivors,
                            Phase::kUnmask, Phase::kVerifying}) {
    const int last = std::min(static_cast<int>(phase), kUnmask);
    for (int silent = 0; silent < last; ++silent) {
      for (int step = silent + 1; step <= last; ++step) {
        EXPECT_EQ(DidOn({phase, silent}, HonestAnswers()[step]),
                  step == kUnmask && silent < kSurvivors ? "LENGTH" : "REPLAY")
            << PhaseName(phase) << " silent " << silent << " message " << step;
      }
    }
  }
}

// The same answers again, from a member that the phase waits for.
TEST(SecAggServerTableTest, EveryRepeatOfWhoIsAwaited) {
  const std::string sent[] = {"send-cohort", "send-shares", "send-open",
                              "send-freeze", "send-unmask"};
  for (int at = 0; at < kSteps; ++at) {
    for (int step = 0; step < at; ++step) {
      EXPECT_EQ(DidOn({static_cast<Phase>(at), at}, HonestAnswers()[step]),
                sent[at])
          << at << " message " << step;
    }
  }
}

TEST(SecAggServerTableTest, EveryRepeatOfWhoHasAnswered) {
  for (const Phase phase : kPhases) {
    const int last = std::min(static_cast<int>(phase), kSteps - 1);
    for (int step = 0; step <= last; ++step) {
      EXPECT_EQ(DidOn({phase}, HonestAnswers()[step]), "-")
          << PhaseName(phase) << " message " << step;
    }
  }
}

// Another answer than before, signed by its member. One about survivors cannot
// differ: what it signs is the coordinator's.
TEST(SecAggServerTableTest, EveryOtherAnswer) {
  Harness session(FleetOfFive(), Five());
  session.Begin();
  std::array<Said, kSteps> others = HonestAnswers();
  Flip(*others[0].mutable_shares()->mutable_ciphertexts(0));
  others[1].mutable_ack()->add_bad(3);
  Flip(*others[2].mutable_input()->mutable_digest());
  Flip(*others[4].mutable_unmask()->mutable_b_shares(0)->mutable_share());
  for (Said& other : others) SignMessage(session, kVictim, other);
  Flip(*others[3].mutable_survivors()->mutable_signature());
  const PhaseRow refused = {"REPLAY+evidence", "REPLAY+evidence",
                            "REPLAY+evidence", "BAD_SIGNATURE", "REPLAY"};
  for (const Phase phase : kPhases) {
    const int last = std::min(static_cast<int>(phase), kSteps - 1);
    for (int step = 0; step <= last; ++step) {
      EXPECT_EQ(DidOn({phase}, others[step]),
                phase < Phase::kDone ? refused[step] : "-")
          << PhaseName(phase) << " message " << step;
    }
  }
}

TEST(SecAggServerTableTest, EveryAbortAndEveryMessageThatAnswersNothing) {
  Said keys, abort;
  keys.mutable_advertise();
  abort.set_abort(v1::SPENT);
  for (const Phase phase : kPhases) {
    const Way way = {phase, static_cast<int>(phase)};
    const bool over = phase >= Phase::kDone;
    EXPECT_EQ(DidOn(way, keys), over ? "-" : "LENGTH") << PhaseName(phase);
    EXPECT_EQ(DidOn(way, Said()), over ? "-" : "LENGTH") << PhaseName(phase);
    EXPECT_EQ(DidOn(way, abort),
              phase < Phase::kVerifying ? "record left-SPENT" : "-")
        << PhaseName(phase);
  }
}

// A member that is lost, or left: nothing more is asked of it or taken from it.
TEST(SecAggServerTableTest, EveryMessageOfWhoIsLost) {
  Said abort;
  abort.set_abort(v1::SPENT);
  for (int at = 0; at < kSteps; ++at) {
    for (const bool told : {false, true}) {
      const auto leave = [&](SecAggServer& server, absl::Time now) {
        if (told) {
          server.Handle(kVictim, abort, now);
        } else {
          EXPECT_TRUE(server.Lost(kVictim, now).empty());
        }
        EXPECT_FALSE(server.Awaits(kVictim));
        EXPECT_TRUE(server.Resend(kVictim).empty());
        EXPECT_TRUE(server.Handle(kVictim, abort, now).empty());
      };
      for (int step = 0; step <= at; ++step) {
        EXPECT_EQ(Did({static_cast<Phase>(at), at},
                      [&](SecAggServer& server, absl::Time now) {
                        leave(server, now);
                        return server.Handle(kVictim, HonestAnswers()[step],
                                             now);
                      }),
                  step == at ? "DEADLINE" : "-")
            << at << " message " << step;
      }
    }
  }
}

// Resend, Finished, Fail, Unusable.
TEST(SecAggServerTableTest, EveryCallInEveryPhase) {
  const std::string failed = "record send-abort aborted-INTERNAL";
  const std::string no = "-";
  const std::vector<std::array<std::string, 4>> table = {
      {"send-cohort", no, failed, no},
      {"send-shares", no, failed, no},
      {"send-open", no, failed, no},
      {"send-freeze", no, failed, failed},
      {"send-unmask", no, failed, failed},
      {no, "record", failed, failed},
      {no, no, no, no},
      {no, no, no, no}};
  for (const Phase phase : kPhases) {
    const auto& cells = table[static_cast<size_t>(phase)];
    const Way way = {phase, std::min(static_cast<int>(phase), kSteps)};
    EXPECT_EQ(Did(way, [](auto& s, auto) { return s.Resend(kVictim); }),
              cells[0])
        << PhaseName(phase);
    EXPECT_EQ(Did(way, [](auto& s, auto) { return s.Finished(); }), cells[1])
        << PhaseName(phase);
    EXPECT_EQ(Did(way, [](auto& s, auto) { return s.Fail(v1::INTERNAL, ""); }),
              cells[2])
        << PhaseName(phase);
    EXPECT_EQ(
        Did(way, [](auto& s, auto now) { return s.Unusable(kVictim, now); }),
        cells[3])
        << PhaseName(phase);
  }
}

}  // namespace
}  // namespace edgetune::secagg
