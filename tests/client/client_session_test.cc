#include "client/client_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace edgetune {
namespace {

using Phase = ClientSession::Phase;
using Ending = ClientSession::Ending;
using Event = ClientSession::Event;
using Action = ClientSession::Action;
using Type = Event::Type;

const SessionId kOwn = {std::string(32, 'r'), 1, 0};
const SessionId kOther = {std::string(32, 'r'), 2, 0};

// A training session that has come to this phase.
ClientSession At(Phase phase) {
  ClientSession session;
  if (phase == Phase::kIdle) return session;
  session.Handle({.type = Type::kAssigned, .id = kOwn});
  for (Phase reached :
       {Phase::kVerifying, Phase::kFetching, Phase::kEvaluating,
        Phase::kTraining, Phase::kUploading, Phase::kReporting}) {
    if (phase == reached) return session;
    if (phase == Phase::kStopping && reached == Phase::kTraining) {
      session.Handle(
          {.type = Type::kOutcome, .id = kOwn, .ending = Ending::kCancelled});
      return session;
    }
    session.Handle({.type = Type::kStepDone, .train = true});
  }
  return session;
}

// A masked session that waits for the coordinator, or sends.
ClientSession Masking(bool sending = false) {
  ClientSession session;
  session.Handle({.type = Type::kAssigned, .id = kOwn});
  for (int step = 0; step < 4; ++step) {
    session.Handle({.type = Type::kStepDone, .train = true, .masks = true});
  }
  if (sending) session.Handle({.type = Type::kMaskedReady});
  return session;
}

std::string Name(Action::Type type) {
  static const auto& names = *new std::map<Action::Type, std::string>{
      {Action::Type::kSayHello, "hello"}, {Action::Type::kSayResume, "resume"},
      {Action::Type::kWait, "wait"},      {Action::Type::kVerify, "verify"},
      {Action::Type::kAccept, "accept"},  {Action::Type::kDecline, "decline"},
      {Action::Type::kFetch, "fetch"},    {Action::Type::kEvaluate, "evaluate"},
      {Action::Type::kTrain, "train"},    {Action::Type::kUpload, "upload"},
      {Action::Type::kReport, "report"},  {Action::Type::kStopWork, "stop"},
      {Action::Type::kMask, "mask"},      {Action::Type::kMaskAgain, "again"},
      {Action::Type::kSendMasked, "send"}, {Action::Type::kMaskedSent, "sent"},
      {Action::Type::kEnd, "end"}};
  return names.at(type);
}

// "resume verify > verifying": actions, then the phase.
std::string Told(ClientSession& session, const Event& event) {
  std::string text;
  for (const Action& action : session.Handle(event)) {
    text += Name(action.type) + " ";
    if (action.type == Action::Type::kEnd) {
      text += std::string(EndingName(action.ending)) + " ";
    }
  }
  return text + "> " + std::string(PhaseName(session.phase()));
}

struct Cell {
  const char* name;
  Phase phase;
  Event event;
  const char* expected;
};

const Event kConnected = {.type = Type::kConnected};
const Event kAgain = {.type = Type::kAssigned, .id = kOwn};
const Event kNew = {.type = Type::kAssigned, .id = kOther};
const Event kDone = {.type = Type::kStepDone, .train = true};
const Event kFailed = {.type = Type::kStepFailed};
const Event kLate = {
    .type = Type::kOutcome, .id = kOwn, .ending = Ending::kLate};
const Event kForeign = {
    .type = Type::kOutcome, .id = kOther, .ending = Ending::kLate};
const Event kDismissed = {.type = Type::kDismissed};
const Event kHalted = {.type = Type::kHalted};

// The table of client_session.h, cell by cell.
const Cell kCells[] = {
    {"IdleConnected", Phase::kIdle, kConnected, "hello > waiting"},
    {"IdleAssigned", Phase::kIdle, kNew, "verify > verifying"},
    {"IdleDone", Phase::kIdle, kDone, "> waiting"},
    {"IdleFailed", Phase::kIdle, kFailed, "> waiting"},
    {"IdleOutcome", Phase::kIdle, kLate, "> waiting"},
    {"IdleDismissed", Phase::kIdle, kDismissed, "wait > waiting"},
    {"IdleHalted", Phase::kIdle, kHalted, "> waiting"},
    {"VerifyingConnected", Phase::kVerifying, kConnected,
     "resume verify > verifying"},
    {"VerifyingAgain", Phase::kVerifying, kAgain, "verify > verifying"},
    {"VerifyingNew", Phase::kVerifying, kNew,
     "end replaced verify > verifying"},
    {"VerifyingDone", Phase::kVerifying, kDone, "accept fetch > fetching"},
    {"VerifyingFailed", Phase::kVerifying, kFailed,
     "decline end declined hello > waiting"},
    {"VerifyingOutcome", Phase::kVerifying, kLate, "end late hello > waiting"},
    {"VerifyingForeign", Phase::kVerifying, kForeign, "> verifying"},
    {"VerifyingDismissed", Phase::kVerifying, kDismissed,
     "end cancelled wait > waiting"},
    {"VerifyingHalted", Phase::kVerifying, kHalted,
     "decline end declined hello > waiting"},
    {"FetchingConnected", Phase::kFetching, kConnected, "resume > fetching"},
    {"FetchingAgain", Phase::kFetching, kAgain, "accept > fetching"},
    {"FetchingNew", Phase::kFetching, kNew, "stop > stopping"},
    {"FetchingDone", Phase::kFetching, kDone, "evaluate > evaluating"},
    {"FetchingFailed", Phase::kFetching, kFailed,
     "decline end declined hello > waiting"},
    {"FetchingOutcome", Phase::kFetching, kLate, "stop > stopping"},
    {"FetchingForeign", Phase::kFetching, kForeign, "> fetching"},
    {"FetchingDismissed", Phase::kFetching, kDismissed, "stop > stopping"},
    {"FetchingHalted", Phase::kFetching, kHalted, "decline stop > stopping"},
    {"EvaluatingConnected", Phase::kEvaluating, kConnected,
     "resume > evaluating"},
    {"EvaluatingAgain", Phase::kEvaluating, kAgain, "accept > evaluating"},
    {"EvaluatingNew", Phase::kEvaluating, kNew, "stop > stopping"},
    {"EvaluatingDone", Phase::kEvaluating, kDone, "train > training"},
    {"EvaluatingFailed", Phase::kEvaluating, kFailed,
     "decline end declined hello > waiting"},
    {"EvaluatingOutcome", Phase::kEvaluating, kLate, "stop > stopping"},
    {"EvaluatingForeign", Phase::kEvaluating, kForeign, "> evaluating"},
    {"EvaluatingDismissed", Phase::kEvaluating, kDismissed, "stop > stopping"},
    {"EvaluatingHalted", Phase::kEvaluating, kHalted,
     "decline stop > stopping"},
    {"TrainingConnected", Phase::kTraining, kConnected, "resume > training"},
    {"TrainingAgain", Phase::kTraining, kAgain, "accept > training"},
    {"TrainingNew", Phase::kTraining, kNew, "stop > stopping"},
    {"TrainingDone", Phase::kTraining, kDone, "upload > uploading"},
    {"TrainingFailed", Phase::kTraining, kFailed,
     "decline end declined hello > waiting"},
    {"TrainingOutcome", Phase::kTraining, kLate, "stop > stopping"},
    {"TrainingForeign", Phase::kTraining, kForeign, "> training"},
    {"TrainingDismissed", Phase::kTraining, kDismissed, "stop > stopping"},
    {"TrainingHalted", Phase::kTraining, kHalted, "decline stop > stopping"},
    {"UploadingConnected", Phase::kUploading, kConnected, "resume > uploading"},
    {"UploadingAgain", Phase::kUploading, kAgain, "accept > uploading"},
    {"UploadingNew", Phase::kUploading, kNew, "stop > stopping"},
    {"UploadingDone", Phase::kUploading, kDone, "report > reporting"},
    {"UploadingFailed", Phase::kUploading, kFailed,
     "decline end declined hello > waiting"},
    {"UploadingOutcome", Phase::kUploading, kLate, "stop > stopping"},
    {"UploadingForeign", Phase::kUploading, kForeign, "> uploading"},
    {"UploadingDismissed", Phase::kUploading, kDismissed, "stop > stopping"},
    {"UploadingHalted", Phase::kUploading, kHalted, "> uploading"},
    {"ReportingConnected", Phase::kReporting, kConnected,
     "resume report > reporting"},
    {"ReportingAgain", Phase::kReporting, kAgain, "report > reporting"},
    {"ReportingNew", Phase::kReporting, kNew,
     "end replaced verify > verifying"},
    {"ReportingDone", Phase::kReporting, kDone, "> reporting"},
    {"ReportingFailed", Phase::kReporting, kFailed, "> reporting"},
    {"ReportingOutcome", Phase::kReporting, kLate, "end late hello > waiting"},
    {"ReportingForeign", Phase::kReporting, kForeign, "> reporting"},
    {"ReportingDismissed", Phase::kReporting, kDismissed,
     "end cancelled wait > waiting"},
    {"ReportingHalted", Phase::kReporting, kHalted, "> reporting"},
    {"StoppingConnected", Phase::kStopping, kConnected, "> stopping"},
    {"StoppingAgain", Phase::kStopping, kAgain, "> stopping"},
    {"StoppingNew", Phase::kStopping, kNew, "> stopping"},
    {"StoppingDone", Phase::kStopping, kDone, "end cancelled hello > waiting"},
    {"StoppingFailed", Phase::kStopping, kFailed,
     "end cancelled hello > waiting"},
    {"StoppingOutcome", Phase::kStopping, kLate, "> stopping"},
    {"StoppingForeign", Phase::kStopping, kForeign, "> stopping"},
    {"StoppingDismissed", Phase::kStopping, kDismissed, "> stopping"},
    {"StoppingHalted", Phase::kStopping, kHalted, "> stopping"},
};

class ClientSessionTable : public ::testing::TestWithParam<Cell> {};

TEST_P(ClientSessionTable, HoldsInThisCell) {
  ClientSession session = At(GetParam().phase);
  ASSERT_EQ(session.phase(), GetParam().phase);
  EXPECT_EQ(Told(session, GetParam().event), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(AllCells, ClientSessionTable,
                         ::testing::ValuesIn(kCells),
                         [](const auto& info) { return info.param.name; });

TEST(ClientSessionTest, EvaluationSessionReportsWithoutTraining) {
  ClientSession session;
  session.Handle({.type = Type::kAssigned, .id = kOwn});
  const Event done = {.type = Type::kStepDone, .train = false};
  EXPECT_EQ(Told(session, done), "accept fetch > fetching");
  EXPECT_EQ(Told(session, done), "evaluate > evaluating");
  EXPECT_EQ(Told(session, done), "report > reporting");
}

TEST(ClientSessionTest, RestoredSessionWithAnUpdateNeverTrainsAgain) {
  ClientSession session = ClientSession::Restore(kOwn, true);
  EXPECT_EQ(Told(session, kConnected), "resume verify > verifying");
  EXPECT_EQ(Told(session, kDone), "accept upload > uploading");
  EXPECT_EQ(Told(session, kDone), "report > reporting");
}

TEST(ClientSessionTest, RestoredSessionWithoutAnUpdateTrains) {
  ClientSession session = ClientSession::Restore(kOwn, false);
  EXPECT_EQ(Told(session, kConnected), "resume verify > verifying");
  EXPECT_EQ(Told(session, kDone), "accept fetch > fetching");
}

TEST(ClientSessionTest, AssignmentThatOvertookTheEndIsTakenAfterIt) {
  ClientSession session = At(Phase::kTraining);
  EXPECT_EQ(Told(session, kNew), "stop > stopping");
  EXPECT_EQ(Told(session, kFailed), "end replaced verify > verifying");
  EXPECT_EQ(session.id(), kOther);
}

TEST(ClientSessionTest, UpdateOfOneSessionIsNotTakenForTheNext) {
  ClientSession session = At(Phase::kReporting);
  session.Handle(kLate);
  session.Handle(kNew);
  EXPECT_EQ(Told(session, kDone), "accept fetch > fetching");
}

TEST(ClientSessionTest, DismissedWorkWaitsInsteadOfAskingAtOnce) {
  ClientSession session = At(Phase::kTraining);
  session.Handle(kDismissed);
  EXPECT_EQ(Told(session, kFailed), "end cancelled wait > waiting");
}

TEST(ClientSessionTest, ReplacedSessionAfterADismissedOneSaysHello) {
  ClientSession session = At(Phase::kTraining);
  session.Handle(kDismissed);
  session.Handle(kDone);
  session.Handle(kNew);
  session.Handle(kDone);
  session.Handle(
      {.type = Type::kOutcome, .id = kOther, .ending = Ending::kLate});
  EXPECT_EQ(Told(session, kFailed), "end late hello > waiting");
}

TEST(MaskedSessionTest, TrainingLeadsToMaskingAndSending) {
  ClientSession session = Masking();
  EXPECT_EQ(session.phase(), Phase::kMasking);
  EXPECT_EQ(Told(session, {.type = Type::kMaskedReady}), "send > uploading");
  EXPECT_EQ(Told(session, {.type = Type::kStepDone}), "sent > masking");
  EXPECT_EQ(Told(session, {.type = Type::kOutcome,
                           .id = kOwn,
                           .ending = Ending::kAccepted}),
            "end accepted hello > waiting");
}

TEST(MaskedSessionTest, AnEvaluationIsMaskedWithoutTraining) {
  ClientSession session;
  session.Handle({.type = Type::kAssigned, .id = kOwn});
  for (int step = 0; step < 2; ++step) {
    session.Handle({.type = Type::kStepDone, .masks = true});
  }
  EXPECT_EQ(Told(session, {.type = Type::kStepDone, .masks = true}),
            "mask > masking");
}

TEST(MaskedSessionTest, ANewStreamRepeatsTheLastMessage) {
  ClientSession session = Masking();
  EXPECT_EQ(Told(session, {.type = Type::kConnected}),
            "resume again > masking");
  EXPECT_EQ(Told(session, {.type = Type::kAssigned, .id = kOwn}),
            "again > masking");
  ClientSession sending = Masking(true);
  EXPECT_EQ(Told(sending, {.type = Type::kConnected}), "resume > uploading");
}

TEST(MaskedSessionTest, AFailureDeclines) {
  ClientSession session = Masking();
  EXPECT_EQ(Told(session, {.type = Type::kStepFailed}),
            "decline end declined hello > waiting");
  ClientSession sending = Masking(true);
  EXPECT_EQ(Told(sending, {.type = Type::kStepFailed}),
            "decline end declined hello > waiting");
}

TEST(MaskedSessionTest, AnotherAssignmentReplacesIt) {
  ClientSession session = Masking();
  EXPECT_EQ(Told(session, {.type = Type::kAssigned, .id = kOther}),
            "end replaced verify > verifying");
  ClientSession sending = Masking(true);
  EXPECT_EQ(Told(sending, {.type = Type::kAssigned, .id = kOther}),
            "stop > stopping");
}

TEST(MaskedSessionTest, TheDevicePolicyDoesNotBreakIt) {
  ClientSession session = Masking();
  EXPECT_EQ(Told(session, {.type = Type::kHalted}), "> masking");
}

}  // namespace
}  // namespace edgetune
