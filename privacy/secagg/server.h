#ifndef EDGETUNE_PRIVACY_SECAGG_SERVER_H_
#define EDGETUNE_PRIVACY_SECAGG_SERVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/masked_vector.h"
#include "privacy/secagg/member.h"

namespace edgetune::secagg {

// The coordinator's part in one masking session of one group: a pure state
// machine, message in, actions out; told the time, it never asks a clock. It
// never holds a masked vector: the shell keeps uploads as blobs, adds them to
// a MaskedSum and takes the masks off with what kUnmask hands out.
//
// Life: Begin with the advertisements that were accepted (R0 belongs to the
// caller: CheckAdvertisement), or Restore from the records of an earlier
// process; then Handle, Lost, Unusable, Timer until Done or Aborted; after
// kUnmask the shell answers with Finished or Fail. All records of one call are
// committed in one transaction before any other of its actions has an effect;
// what a record names (the blob of an input) is durable before. Ownership: a
// value that moves; it copies Options and borrows the key. One thread.
//
// Phases: Shares (R2), Acks (R2b), Input (R3), Survivors (R4), Unmask (R5),
// each asking those who answered before: everybody; U2; who acknowledged; U3;
// who signed. A phase closes when everyone asked has answered or is lost, at
// its deadline, or as soon as t answers are out of reach. What closes it
// without success: a complaint in Acks (BAD_SHARE, whatever the count); fewer
// than t answers (NOT_ENOUGH, in Survivors TOO_FEW_SIGS); shares that lead to
// no secret (RECONSTRUCT); a signature that fails (INTERNAL).
//
// What a member's first message of a kind does in each phase:
//
//            shares    ack       input     survivors  unmask    abort
// Shares     taken     REPLAY    REPLAY    REPLAY     REPLAY    left
// Acks       DEADLINE  taken     REPLAY    REPLAY     REPLAY    left
// Input      DEADLINE  DEADLINE  taken     REPLAY     REPLAY    left
// Survivors  DEADLINE  DEADLINE  late      taken      REPLAY    left
// Unmask     DEADLINE  DEADLINE  late      DEADLINE   taken     left
// Verifying  DEADLINE  DEADLINE  late      DEADLINE   DEADLINE  -
// Done       -         -         -         -          -         -
// Aborted    -         -         -         -          -         -
//
// taken: kRecord, of an input kFold too. A code: kRefuse. late: kLate. left:
// kRecord and kLeft; the member is lost. -: ignored, no action; so is the abort
// of who is lost.
// Before that, in this order: LENGTH for keys and for an empty message; REPLAY
// before its time; LENGTH or REPLAY for another session; LENGTH for counts,
// lengths, indices that cannot be; then the repeat (below); REPLAY to who was
// not asked. Last, where it would be taken: DEADLINE to who is lost,
// BAD_SIGNATURE.
//
// The same statement again: what the phase sent this member, once more, while
// the member is awaited, else nothing; after a restart in Unmask its shares are
// taken. Another statement: BAD_SIGNATURE, or REPLAY with evidence (none for
// unmask: it would hold shares).
class SecAggServer {
 public:
  enum class Phase {
    kShares,
    kAcks,
    kInput,
    kSurvivors,
    kUnmask,
    kVerifying,  // kUnmask was handed out
    kDone,
    kAborted
  };
  // Closing times of R2, R2b, R3, R4, R5.
  struct Deadlines {
    absl::Time shares, acks, input, survivors, unmask;
  };
  struct Options {
    Digest manifest = {};  // M
    MaskedShape shape;
    Deadlines deadlines;
    const SigningKey* round_key = nullptr;  // borrowed
  };

  // What a restart needs, in order of making: accepted messages (of R5 the
  // digest only, never a share) and transitions. Opaque bytes but for `phase`
  // and `index`; whoever stores them guards them against damage. Not recorded:
  // Lost, Unusable, Verifying.
  struct Record {
    enum class Kind { kMessage, kTransition };
    Kind kind;
    Phase phase;
    uint32_t index = 0;  // of the member; 0 for transitions
    std::string bytes;
    bool operator==(const Record&) const = default;
  };
  struct Action {
    enum class Kind {
      kRecord,  // make `record` durable
      kSend,    // `message` to member `index`
      kRefuse,  // a message of member `index` was refused: `code`, `detail`;
                // the member stays in the session. `document`, unless empty, is
                // evidence to keep: a Contradiction that the member signed
      kLeft,    // member `index` left with `code`; as if Lost
      kFold,    // member `index` uploaded `digest`: add it to the sum, or say
                // Unusable
      kLate,   // a vector of `index` came after the freeze; counted, not folded
      kBlame,  // `index` and `other` (dealer, holder or accuser, accused) get
               // one point each; a restart may name a pair of a session again
      kUnmask,   // U3 is fixed and `masks` take the masks off the sum; check
                 // with CanaryOf(M), then Finished or Fail
      kAborted,  // `code`, `detail`
    };
    Kind kind;
    Record record = {};
    uint32_t index = 0;
    uint32_t other = 0;
    // Shared by all that get the same one (the cohort: 200 kB at n = 300).
    std::shared_ptr<const v1::SecAggServerMessage> message = {};
    Digest digest = {};
    v1::AbortCode code = v1::ABORT_UNSPECIFIED;
    std::string detail = {};
    std::string document = {};
    std::vector<MaskTerm> masks = {};
  };
  using Actions = std::vector<Action>;

  // `cohort` ascending by id, n_min to n_max entries, as CheckAdvertisement
  // made them (InvalidArgument otherwise). First actions: the cohort to each.
  static absl::StatusOr<SecAggServer> Begin(const Options& options,
                                            std::vector<v1::CohortEntry> cohort,
                                            Actions& actions);
  // Continues; open phases keep their deadlines, U2 and U3 stay as they were
  // signed. In Unmask the answers are asked for again. `actions` holds the
  // kFold of every upload that is recorded (once U3 is fixed: of U3), then what
  // the current phase sends; none after the end. DataLoss: not the records of a
  // session of this cohort.
  static absl::StatusOr<SecAggServer> Restore(
      const Options& options, std::vector<v1::CohortEntry> cohort,
      const std::vector<Record>& records, Actions& actions);
  ~SecAggServer();
  SecAggServer(SecAggServer&&) noexcept;
  SecAggServer& operator=(SecAggServer&&) noexcept;

  // `index` of the cohort, here and below. For MaskedInput the shell has
  // checked that the blob of this digest is here and CheckPacked; of one that
  // is awaited and fails, it says Unusable instead.
  Actions Handle(uint32_t index, const v1::SecAggClientMessage& message,
                 absl::Time now);
  // The member will not answer any more. What was accepted from it stays; a
  // restart forgets that it was lost.
  Actions Lost(uint32_t index, absl::Time now);
  // The upload of this member cannot be folded (padding bits set, blob
  // damaged): before the freeze the member counts as Lost, and its input does
  // not count if it was taken. The input that closes its phase is frozen by the
  // call that takes it; later the session ends with INTERNAL, so nothing but a
  // damaged disk may show that late.
  Actions Unusable(uint32_t index, absl::Time now);
  Actions Timer(absl::Time now);
  // The member's stream is new: what the current phase sent it, again, while it
  // is awaited.
  Actions Resend(uint32_t index) const;
  // In Verifying, else ignored: the sum was taken. Its record is committed
  // together with the result; a restart without it is in Unmask.
  Actions Finished();
  // After kUnmask, or whenever the shell cannot go on. Tells every member that
  // is not lost. Ignored after the end.
  Actions Fail(v1::AbortCode code, std::string detail);

  Phase phase() const;
  v1::AbortCode abort_code() const;
  absl::Time NextTimer() const;
  const Digest& session() const;
  const std::vector<v1::CohortEntry>& cohort() const;
  // Index of a member. nullopt: not in this cohort.
  std::optional<uint32_t> IndexOf(const ClientId& id) const;
  // Whether the session still waits for this member.
  bool Awaits(uint32_t index) const;
  // Members of U3; empty before the freeze.
  std::vector<bool> survivors() const;
  // For the receipt: complete once kUnmask was handed out.
  v1::GroupReceipt Receipt() const;

 private:
  struct State;
  explicit SecAggServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

std::string_view PhaseName(SecAggServer::Phase phase);  // "shares"

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_SERVER_H_
