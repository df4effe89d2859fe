// Every message and every call in every phase of SecAggClient: the table of its
// header, cell by cell.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using Body = v1::SecAggClientMessage;
using ClientKind = SecAggClient::Action::Kind;
using ClientPhase = SecAggClient::Phase;
using Told = v1::SecAggServerMessage;

constexpr int kTold = 5;  // cohort, shares, open, freeze, unmask

// The victim's side of an honest session: what it was told, what it said. Equal
// seeds give equal bytes, so these fit every session of this file.
struct Script {
  std::array<Told, kTold> told;
  std::map<Body::BodyCase, Body> said;
};

const Script& HonestScript() {
  static const Script* const script = [] {
    auto* made = new Script();
    Harness session(FleetOfFive(), Five());
    session.to_client = [&](uint32_t index, Told& message) {
      if (index == kVictim) made->told[message.body_case() - 1] = message;
      return true;
    };
    session.to_server = [&](uint32_t index, Body& message) {
      if (index == kVictim) made->said[message.body_case()] = message;
      return true;
    };
    session.Begin();
    made->said[Body::kAdvertise] =
        session.clients[kVictim].party->Resend().at(0).message;
    session.Drain();
    EXPECT_TRUE(session.Committed());
    EXPECT_EQ(made->said.size(), 6u);
    return made;
  }();
  return *script;
}

// Where a client can be. Sending: Masked, and its vector is still leaving.
enum class Place {
  kReady,
  kAdvertised,
  kShared,
  kAcked,
  kSending,
  kMasked,
  kConfirmed,
  kUnmasked,
  kDone,
  kAborted
};

void Bring(Place place, Harness& session) {
  SecAggClient& party = *session.clients[kVictim].party;
  switch (place) {
    case Place::kReady:
      return;
    case Place::kAdvertised:
      return RunUntil(Body::kAdvertise, session);
    case Place::kShared:
      return RunUntil(Body::kShares, session);
    case Place::kAcked:
      return RunUntil(Body::kAck, session);
    case Place::kSending:
      RunUntil(Body::kAck, session);
      party.Handle(HonestScript().told[2]);
      return;
    case Place::kMasked:
      return RunUntil(Body::kInput, session);
    case Place::kConfirmed:
      return RunUntil(Body::kSurvivors, session);
    case Place::kUnmasked:
      return RunUntil(Body::kUnmask, session);
    case Place::kDone:
      RunUntil(Body::kUnmask, session);
      party.End();
      return;
    case Place::kAborted:
      RunUntil(Body::kInput, session);
      party.Fail(v1::DEADLINE, "");
  }
}

// One action as a word; a message only if it is the one of the honest session.
std::string WordOf(const SecAggClient::Action& action) {
  const auto& said = HonestScript().said;
  switch (action.kind) {
    case ClientKind::kSend: {
      const Body& message = action.message;
      if (message.has_abort()) return v1::AbortCode_Name(message.abort());
      const auto honest = said.find(message.body_case());
      if (honest == said.end() ||
          honest->second.SerializeAsString() != message.SerializeAsString()) {
        return "other-answer";
      }
      return std::array{"",      "advertise", "shares", "ack",
                        "input", "survivors", "unmask"}[message.body_case()];
    }
    case ClientKind::kSpend:
      return "spend";
    case ClientKind::kUpload:
      return Sha256Bytes(action.masked) ==
                     said.at(Body::kInput).input().digest()
                 ? "upload"
                 : "other-upload";
    case ClientKind::kRemember:
      return "remember";
    case ClientKind::kEvidence:
      return "evidence";
    case ClientKind::kAborted:
      return "aborted-" + v1::AbortCode_Name(action.code);
  }
  return "unknown";
}

// What a call did, in one word an action: "-" for nothing, ">" in front if the
// phase is another one now. An abort that was told and reported is one word.
std::string Did(
    Place place,
    const std::function<SecAggClient::Actions(SecAggClient&)>& call) {
  Harness session(FleetOfFive(), Five());
  Bring(place, session);
  SecAggClient& party = *session.clients[kVictim].party;
  const ClientPhase before = party.phase();
  std::string words, last;
  bool aborted = false;
  for (const SecAggClient::Action& action : call(party)) {
    const std::string word = WordOf(action);
    aborted |= action.kind == ClientKind::kAborted;
    if (word != "aborted-" + last) words += (words.empty() ? "" : " ") + word;
    last = word;
  }
  EXPECT_EQ(aborted && before != ClientPhase::kAborted,
            party.phase() == ClientPhase::kAborted &&
                before != ClientPhase::kAborted);
  if (words.empty()) words = "-";
  return (party.phase() != before && !aborted ? ">" : "") + words;
}

std::string DidOn(Place place, const Told& message) {
  return Did(place, [&](SecAggClient& c) { return c.Handle(message); });
}

struct PlaceRow {
  Place place;
  std::array<std::string, kTold + 2> cells;
};

void ExpectTable(const std::vector<PlaceRow>& table,
                 const std::vector<Told>& messages) {
  for (const PlaceRow& row : table) {
    for (size_t step = 0; step < messages.size(); ++step) {
      if (row.cells[step].empty()) continue;
      EXPECT_EQ(DidOn(row.place, messages[step]), row.cells[step])
          << "place " << static_cast<int>(row.place) << " message " << step;
    }
  }
}

// The messages of the honest session, an abort, an empty one.
TEST(SecAggClientTableTest, EveryMessageInEveryPhase) {
  std::vector<Told> messages(HonestScript().told.begin(),
                             HonestScript().told.end());
  messages.emplace_back().set_abort(v1::BAD_SHARE);
  messages.emplace_back();
  const std::string end = "aborted-BAD_SHARE";
  ExpectTable(
      {{Place::kReady, {"-", "-", "-", "-", "-", "-", "-"}},
       {Place::kAdvertised,
        {">shares", "REPLAY", "REPLAY", "REPLAY", "REPLAY", end, "LENGTH"}},
       {Place::kShared,
        {"shares", ">ack", "REPLAY", "REPLAY", "REPLAY", end, "LENGTH"}},
       {Place::kAcked,
        {"shares", "ack", ">spend upload", "REPLAY", "REPLAY", end, "LENGTH"}},
       {Place::kSending,
        {"shares", "ack", "upload", "REPLAY", "REPLAY", end, "LENGTH"}},
       {Place::kMasked,
        {"shares", "ack", "upload", ">remember survivors", "REPLAY", end,
         "LENGTH"}},
       {Place::kConfirmed,
        {"shares", "ack", "-", "survivors", ">unmask", end, "LENGTH"}},
       {Place::kUnmasked, {"-", "-", "-", "-", "unmask", end, "LENGTH"}},
       {Place::kDone, {"-", "-", "-", "-", "-", "-", "-"}},
       {Place::kAborted, {"-", "-", "-", "-", "-", "-", "-"}}},
      messages);
}

// Other messages for steps that were taken; the coordinator signed its sets.
TEST(SecAggClientTableTest, EveryOtherMessageForATakenStep) {
  std::vector<Told> others(HonestScript().told.begin(),
                           HonestScript().told.end());
  others[0].mutable_cohort()->mutable_entries(0)->set_enrolled_ms(1);
  others[1].mutable_shares()->set_u2(std::string(1, '\x0f'));
  SignSet(*others[1].mutable_shares());
  Flip(*others[2].mutable_open()->mutable_session());
  others[3].mutable_freeze()->set_u3(std::string(1, '\x0f'));
  SignSet(*others[3].mutable_freeze());
  others[4].mutable_unmask()->mutable_signatures()->RemoveLast();
  const std::string u2 = "evidence REPLAY";
  const std::string u3 = "evidence U3_EQUIVOCATION";
  ExpectTable({{Place::kReady, {"-", "-", "-", "-", "-"}},
               {Place::kShared, {"REPLAY"}},
               {Place::kAcked, {"REPLAY", u2}},
               {Place::kSending, {"REPLAY", u2, "REPLAY"}},
               {Place::kMasked, {"REPLAY", u2, "REPLAY"}},
               {Place::kConfirmed, {"REPLAY", u2, "REPLAY", u3}},
               {Place::kUnmasked, {"REPLAY", u2, "REPLAY", u3, "REPLAY"}},
               {Place::kDone, {"-", "-", "-", "-", "-"}},
               {Place::kAborted, {"-", "-", "-", "-", "-"}}},
              others);
}

// The same ones where the coordinator did not sign what it should have.
TEST(SecAggClientTableTest, EveryUnsignedMessageForATakenStep) {
  Told shares = HonestScript().told[1];
  shares.mutable_shares()->set_u2(std::string(1, '\x0f'));
  Told freeze = HonestScript().told[3];
  freeze.mutable_freeze()->set_u3(std::string(1, '\x0f'));
  const std::string bad = "BAD_SIGNATURE";
  ExpectTable({{Place::kAcked, {bad}},
               {Place::kSending, {bad}},
               {Place::kMasked, {bad}},
               {Place::kConfirmed, {bad, bad}},
               {Place::kUnmasked, {bad, bad}}},
              {shares, freeze});
}

// Resend, Uploaded, Fail, End.
TEST(SecAggClientTableTest, EveryCallInEveryPhase) {
  const std::vector<PlaceRow> table = {
      {Place::kReady, {"-", "-", "DEADLINE", ">-"}},
      {Place::kAdvertised, {"advertise", "-", "DEADLINE", ">-"}},
      {Place::kShared, {"shares", "-", "DEADLINE", ">-"}},
      {Place::kAcked, {"ack", "-", "DEADLINE", ">-"}},
      {Place::kSending, {"-", "input", "DEADLINE", ">-"}},
      {Place::kMasked, {"input", "input", "DEADLINE", ">-"}},
      {Place::kConfirmed, {"survivors", "-", "DEADLINE", ">-"}},
      {Place::kUnmasked, {"unmask", "-", "DEADLINE", ">-"}},
      {Place::kDone, {"-", "-", "-", "-"}},
      {Place::kAborted, {"-", "-", "-", "-"}}};
  const std::function<SecAggClient::Actions(SecAggClient&)> calls[] = {
      [](SecAggClient& c) { return c.Resend(); },
      [](SecAggClient& c) { return c.Uploaded(); },
      [](SecAggClient& c) { return c.Fail(v1::DEADLINE, "silence"); },
      [](SecAggClient& c) {
        c.End();
        return SecAggClient::Actions();
      }};
  for (const PlaceRow& row : table) {
    for (size_t call = 0; call < std::size(calls); ++call) {
      EXPECT_EQ(Did(row.place, calls[call]), row.cells[call])
          << "place " << static_cast<int>(row.place) << " call " << call;
    }
  }
}

// The round ended without it, with success or not: it shows nothing any more.
TEST(SecAggClientTableTest, WhoseSessionEndedEarlyShowsNothing) {
  for (int at = 0; at <= static_cast<int>(Place::kUnmasked); ++at) {
    const auto place = static_cast<Place>(at);
    for (const Told& message : HonestScript().told) {
      EXPECT_EQ(Did(place,
                    [&](SecAggClient& c) {
                      c.End();
                      return c.Handle(message);
                    }),
                ">-");
    }
  }
}

}  // namespace
}  // namespace edgetune::secagg
