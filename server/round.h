#ifndef EDGETUNE_SERVER_ROUND_H_
#define EDGETUNE_SERVER_ROUND_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace edgetune {

// The state machine of one round and attempt. Pure: told what happened and
// when, it answers what to do; it never sees a clock, a message, an update or
// a row. Life: made Selecting (or Resume: Training, after a restart), then
// Handle until Committed or Abandoned. One thread.
//
// Phases after each event (S Selecting, T Training, F Finishing, C Committed,
// A Abandoned; a phase alone and equal to the row's: may act, never moves):
//
//               S       T       F       C       A
//   kPool       S T A   T       F       C       A
//   kTimer      S       T F A   F       C       A
//   kReport     S       T F A   F       C       A
//   kDecline    S       T F A   F       C       A
//   kUp         S       T       F       C       A
//   kDown       S       T       F       C       A
//   kDeny       S       T F A   F       C       A
//   kStepMade   S       T       C       C       A
//   kStepFailed S       T       A       C       A
//   kStop       A       A       A       C       A
//
// Selecting decides on kPool alone (so that the caller can offer one pool to
// several rounds in turn); it must be repeated when NextTimer is due.
// Training closes when no client is open, or at the deadline: with `quorum`
// good reports it finishes, else it is abandoned.
class Round {
 public:
  enum class Phase {
    kSelecting,
    kTraining,
    kFinishing,
    kCommitted,
    kAbandoned
  };
  enum class ClientState {
    kOpen,  // assigned, nothing final said
    kReported,
    kRefused,
    kDeclined,
    kLost,
    kCancelled,
  };
  struct Options {
    uint32_t cohort = 1;  // clients wanted
    uint32_t asked = 1;   // clients asked, at least cohort
    uint32_t quorum = 1;
    absl::Duration select_timeout;
    absl::Duration deadline;
    absl::Duration reconnect_grace;
    // How long a selection that has its cohort waits for the rest of `asked`.
    absl::Duration settle = absl::Seconds(10);
  };
  struct Event {
    enum class Kind {
      kPool,     // `idle` could be taken now; `busy` more serve another run
      kTimer,    // time passed
      kReport,   // of `device`; `detail` says why it is refused, empty: good
      kDecline,  // `device` will not take part: `detail`
      kUp,       // `device` said hello on a stream
      kDown,     // its stream is gone
      kDeny,     // `device` is refused from now on
      kStepMade,
      kStepFailed,  // answer to kFinish
      kStop,        // by an operator: `detail`
    };
    Kind kind;
    std::string device = {};
    std::string detail = {};
    std::vector<std::string> idle = {};
    size_t busy = 0;
  };
  struct Action {
    enum class Kind {
      kAssign,  // `devices` take part; deadline() holds from now
      kAccept,
      kRefuse,
      kDecline,
      kLose,
      kCancel,  // `device`, why: `detail`
      kRepeat,  // send `device` its assignment again
      kFinish,  // combine what was reported; always the last action
      kCommit,
      kAbandon,  // `detail`; always the last action
    };
    Kind kind;
    std::string device = {};
    std::string detail = {};
    std::vector<std::string> devices = {};
  };

  Round(const Options& options, absl::Time now);
  // Training as recorded; the open clients have `reconnect_grace` from `now`.
  static Round Resume(const Options& options,
                      const std::map<std::string, ClientState>& clients,
                      absl::Time deadline, absl::Time now);
  // For a resumed round whose kFinish was under way (masking): Finishing.
  void ResumeFinishing() { phase_ = Phase::kFinishing; }

  std::vector<Action> Handle(const Event& event, absl::Time now);

  Phase phase() const { return phase_; }
  absl::Time deadline() const { return deadline_; }
  bool IsOpen(const std::string& device) const;
  // Selecting, and at least `cohort` are in the pool: they will be taken.
  bool IsSettling() const;
  size_t CountOf(ClientState state) const;
  // When the next kTimer (Training) or kPool (Selecting) is due.
  absl::Time NextTimer() const;

 private:
  struct Client {
    ClientState state = ClientState::kOpen;
    absl::Time lost_at = absl::InfiniteFuture();  // finite: its stream is gone
  };
  using Actions = std::vector<Action>;

  void HandleSelecting(const Event& event, absl::Time now, Actions& actions);
  void HandleTraining(const Event& event, absl::Time now, Actions& actions);
  void HandleFinishing(const Event& event, Actions& actions);
  void Take(const std::vector<std::string>& idle, absl::Time now,
            Actions& actions);
  void Close(Client& client, ClientState state, Action action,
             Actions& actions);
  void LoseOverdue(absl::Time now, Actions& actions);
  void CloseIfAnswered(Actions& actions);
  void Abandon(std::string reason, Actions& actions);

  Options options_;
  Phase phase_ = Phase::kSelecting;
  absl::Time select_by_;
  absl::Time settle_by_ = absl::InfiniteFuture();
  bool waits_for_busy_ = false;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::map<std::string, Client> clients_;
  std::map<ClientState, size_t> counts_;  // of clients_
  // No client's lost_at is earlier; infinite: all have their streams.
  absl::Time lost_from_ = absl::InfiniteFuture();
};

std::string_view PhaseName(Round::Phase phase);  // "training"

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_ROUND_H_
