#ifndef EDGETUNE_CLIENT_CLIENT_SESSION_H_
#define EDGETUNE_CLIENT_CLIENT_SESSION_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgetune {

// Which session: a run's round and attempt.
struct SessionId {
  std::string run_id;  // 32 bytes
  uint32_t round = 0;
  uint32_t attempt = 0;
  auto operator<=>(const SessionId&) const = default;
};

// One participation of one device, from check-in to report, resumable at each
// step: a pure state machine without clock, disk, network or threads. The
// shell feeds events and performs the actions in order. Life: construct (or
// Restore), then Handle for ever; after each session it is idle again. One
// thread. No event is an error: what does not fit a phase is ignored, since
// streams break, repeat and overtake.
//
// Every cell: actions, then the next phase (none: the same). "step" is the one
// asked for last; "own" is the session in progress; next(P) is the phase after
// P: Verifying accept+fetch > Fetching evaluate > Evaluating train > Training
// upload > Uploading report > Reporting. An EVAL session goes from Evaluating
// to Reporting; a restored one whose update is durable from Verifying to
// Uploading (accept+upload).
//
//             Connected     Assigned   Assigned    StepDone   StepFailed
//                           own        other
// Idle        hello         -          verify>Ver  -          -
// Verifying   resume+verify verify     end+verify  next       decline+end+hello
//                                                             >Idle
// Fetching..  resume        accept     stop>Stop   next       decline+end+hello
//  Uploading                                                  >Idle
// Reporting   resume+report report     end+verify  -          -
//                                      >Ver
// Stopping    -             -          (noted)     end+hello  end+hello
//                                                  >Idle, or if an assignment
//                                                  was noted end+verify>Ver
//
// Under masking Training (and Evaluating, of an EVAL session) is followed by
// Masking instead (mask): keys and shares are exchanged, and when the shell
// says MaskedReady, Sending (send masked), whose StepDone leads back to Masking
// (masked sent). Masking behaves as Reporting, with "mask again" for report,
// but for StepFailed, which declines as elsewhere; Sending as Uploading.
//
//             Outcome own   Dismissed  Halted (device policy)
// Idle        -             wait       -
// Verifying   end+hello     end+wait   decline+end+hello
//             >Idle         >Idle      >Idle
// Fetching..  stop>Stop     stop>Stop  decline+stop>Stop
//  Training
// Uploading   stop>Stop     stop>Stop  -
// Reporting   end+hello     end+wait   -
//             >Idle         >Idle
// Stopping    -             -          -
//
// An outcome of another session is ignored in every phase.
class ClientSession {
 public:
  enum class Phase {
    kIdle,
    kVerifying,
    kFetching,
    kEvaluating,
    kTraining,
    kUploading,
    kReporting,
    kMasking,   // the rounds of secure aggregation, in the shell's hands
    kSending,   // the masked update
    kStopping,  // the step was told to stop and has not returned yet
  };
  // How a session ended.
  enum class Ending {
    kNone,
    kAccepted,
    kRefused,
    kLate,
    kCancelled,
    kDeclined,
    kReplaced,  // the coordinator assigned another one
  };

  struct Event {
    enum class Type {
      kConnected,   // the stream is open
      kAssigned,    // id
      kStepDone,    // after Verifying: train
      kStepFailed,  // the shell holds the reason
      kOutcome,     // id, ending
      kDismissed,   // come back later: the coordinator has nothing for us
      kHalted,      // the device policy forbids going on
      kMaskedReady,  // masking: the vector is to be sent
    };
    Type type;
    SessionId id = {};
    bool train = false;
    bool masks = false;
    Ending ending = Ending::kNone;
  };

  struct Action {
    enum class Type {
      kSayHello,   // "I am free", as soon as the device policy allows
      kSayResume,  // "I am still working on" id()
      kWait,       // as long as the coordinator said, then hello
      kVerify,
      kAccept,
      kDecline,
      kFetch,
      kEvaluate,
      kTrain,
      kUpload,
      kReport,
      kMask,        // begin the masking session
      kMaskAgain,   // say its last message again
      kSendMasked,
      kMaskedSent,  // tell the masking session
      kStopWork,  // the step's stop token; it answers with StepDone or -Failed
      kEnd,       // the session is over: record `ending`, forget its data
    };
    Type type;
    Ending ending = Ending::kNone;  // of kEnd
    SessionId id = {};              // of kVerify and kEnd
    bool operator==(const Action&) const = default;
  };

  ClientSession() = default;
  // An unfinished session found in the store: waits in Verifying for the
  // stream.
  static ClientSession Restore(SessionId id, bool has_update);

  std::vector<Action> Handle(const Event& event);

  Phase phase() const { return phase_; }
  const SessionId& id() const { return id_; }

 private:
  using Actions = std::vector<Action>;

  Actions OnConnected() const;
  Actions OnAssigned(const Event& event);
  Actions OnStepDone(const Event& event);
  // Evaluated or trained: what is said of it.
  Actions OnResult();
  Actions OnStepFailed();
  Actions OnOver(Ending ending, Action::Type then);
  Actions OnHalted();
  Actions Begin(const SessionId& id);
  Actions End(Ending ending, Action::Type then);

  Phase phase_ = Phase::kIdle;
  SessionId id_;
  bool train_ = false;
  bool masks_ = false;
  bool has_update_ = false;
  Ending ending_ = Ending::kNone;                 // while Stopping
  std::optional<SessionId> noted_;                // assigned while Stopping
  Action::Type after_ = Action::Type::kSayHello;  // while Stopping
};

std::string_view PhaseName(ClientSession::Phase phase);
std::string_view EndingName(ClientSession::Ending ending);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_CLIENT_SESSION_H_
