#ifndef EDGETUNE_PRIVACY_SECAGG_SERVER_STATE_H_
#define EDGETUNE_PRIVACY_SECAGG_SERVER_STATE_H_

// The inside of SecAggServer, for its sources only. Members are indices into
// the cohort. A check that fails returns a status with an abort code.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "privacy/secagg/opening.h"
#include "privacy/secagg/server.h"

namespace edgetune::secagg {

// Phases that wait for members, kShares to kUnmask.
inline constexpr size_t kAnswerPhases = 5;

struct SecAggServer::State {
  using Message = v1::SecAggServerMessage;
  using ClientMessage = v1::SecAggClientMessage;

  struct Member {
    ClientId id = {};
    std::optional<PublicKey> identity;
    bool lost = false;
    bool unusable = false;
    // What was accepted in each phase. R5's statement is a digest: it would
    // hold shares.
    std::array<std::optional<v1::SignedStatement>, kAnswerPhases> said;
    std::string commitment;
    std::string ciphertexts;                   // joined; until U2 is fixed
    std::shared_ptr<const Message> forwarded;  // until this member has acked
    std::vector<uint32_t> bad;
    Digest upload = {};
    std::vector<SecretBytes> shares;  // R5: one for each of U2, ascending
  };

  // One whose secret is being put together.
  struct Dealer {
    Opening& opened;
    size_t number;   // in U2
    uint32_t index;  // in the cohort
  };

  explicit State(const Options& o) : options(o) {}

  // server.cc
  absl::Status Join(std::vector<v1::CohortEntry> entries);
  void Accept(uint32_t index, const ClientMessage& message, Actions& actions);
  void AcceptAgain(uint32_t index, Phase step, const ClientMessage& message,
                   Actions& actions);
  void Leave(uint32_t index, const ClientMessage& message, Actions& actions);
  void Apply(uint32_t index, const ClientMessage& message);
  void Refuse(uint32_t index, const absl::Status& why, Actions& actions) const;
  void SendTo(uint32_t index, Actions& actions) const;

  // server_checks.cc
  absl::Status CheckForm(uint32_t index, const ClientMessage& message) const;
  absl::Status CheckForm(const v1::ShareKeys& message) const;
  absl::Status CheckForm(uint32_t index, const v1::ShareAck& message) const;
  absl::Status CheckForm(const v1::MaskedInput& message) const;
  absl::Status CheckForm(const v1::SurvivorSignature& message) const;
  absl::Status CheckForm(const v1::UnmaskShares& message) const;
  // What the member signed with this message; for R5 its digest. The form was
  // checked. BAD_SIGNATURE if it did not.
  absl::StatusOr<v1::SignedStatement> StatementOf(
      uint32_t index, const ClientMessage& message) const;

  // server_phases.cc
  // Ends every phase that is complete or past its deadline.
  void CloseDue(absl::Time now, Actions& actions);
  void Close(Actions& actions);
  absl::Status EndPhase(Actions& actions);
  absl::Status CheckComplaints(Actions& actions) const;
  absl::StatusOr<Message> NextOpening() const;
  void Enter(Message message);
  void ForwardShares(const v1::ForwardedShares& head);
  void Abort(v1::AbortCode code, std::string detail, Actions& actions);
  void Wipe();

  // server_unmask.cc
  absl::Status Unmask(Actions& actions);
  absl::Status OpenSeed(const Dealer& dealer,
                        std::vector<MaskTerm>& masks) const;
  absl::Status OpenMaskKey(const Dealer& dealer,
                           std::vector<MaskTerm>& masks) const;

  // server_restore.cc
  absl::Status Replay(const Record& record);
  absl::Status ReplayMessage(const Record& record);
  absl::Status ReplayTransition(const Record& record);
  bool CanOpenNext(const Message& message) const;

  bool IsOpen() const { return phase <= Phase::kUnmask; }
  bool IsOver() const { return phase >= Phase::kDone; }
  Phase NextPhase() const {
    return static_cast<Phase>(static_cast<int>(phase) + 1);
  }
  absl::Time Deadline() const;
  // Whether a member is asked for an answer in `step`.
  bool Asked(Phase step, uint32_t index) const;
  bool Answered(Phase step, uint32_t index) const;
  bool Awaits(uint32_t index) const;
  // Everyone whose answer in `step` counts.
  std::vector<bool> Counted(Phase step) const;
  uint32_t size() const { return static_cast<uint32_t>(members.size()); }

  const Options options;
  Phase phase = Phase::kShares;
  v1::AbortCode code = v1::ABORT_UNSPECIFIED;
  std::vector<v1::CohortEntry> cohort;
  std::vector<Member> members;
  Digest session = {};
  uint32_t threshold = 0;
  std::vector<bool> in_u2, in_u3;  // empty until fixed
  std::string u2, u3;
  v1::UnmaskRequest signatures;
  // What opened the phase and everybody in it gets; in Acks each gets its own.
  std::shared_ptr<const Message> opening;
};

// The phase that a message answers. nullopt: none.
std::optional<SecAggServer::Phase> StepOf(
    const v1::SecAggClientMessage& message);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_SERVER_STATE_H_
