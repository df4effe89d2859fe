#ifndef EDGETUNE_PRIVACY_SECAGG_CLIENT_H_
#define EDGETUNE_PRIVACY_SECAGG_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "privacy/crypto/secure_random.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/masked_vector.h"
#include "privacy/secagg/member.h"

namespace edgetune::secagg {

// One device's part in one masking session: a pure state machine, message in,
// actions out; no clock, disk or network. The manifest was verified before
// (client/assignment); this class checks everything that comes after it.
//
// Life: Start once, Handle for each message, Uploaded after each upload, Resend
// on each new stream, End when the coordinator said what became of the session.
// The shell performs actions in order and makes kSpend, kRemember and kEvidence
// durable before it performs the next one; if that fails it performs no more of
// them and leaves the session. Nothing is ever read back: a device that
// restarts has no session and is a dropout.
//
// Ownership: a value that moves; what Options borrow outlives it. Secrets live
// here only, each until it was used, all until the answer to unmask, an abort,
// End or destruction; the encoded answer itself, which holds shares, until the
// last three. One thread; `threads` work inside Handle only.
//
// What a coordinator's message does in each phase:
//
//             cohort  shares  open    freeze      unmask
// Ready       -       -       -       -           -
// Advertised  Shared  REPLAY  REPLAY  REPLAY      REPLAY
// Shared      again   Acked   REPLAY  REPLAY      REPLAY
// Acked       again   again   Masked  REPLAY      REPLAY
// Masked      again   again   again   Confirmed*  REPLAY
// Confirmed   again   again   again   again       Unmasked
// Unmasked    again   again   again   again       again
// Done        -       -       -       -           -
// Aborted     -       -       -       -           -
//
// A phase: the message is checked, answered, and that is the phase now.
// * REPLAY until Uploaded.
// again: the same bytes as were taken get the same answer; nothing where it was
// wiped (the upload from Confirmed on, in Unmasked all but the last). Other
// bytes end the session: REPLAY; BAD_SIGNATURE for shares or freeze that the
// coordinator did not sign; U3_EQUIVOCATION for another survivor set that it
// did sign. Another U2 or U3 that it signed is evidence.
// -: ignored, no action.
// From Advertised to Unmasked an empty message ends the session with LENGTH,
// and the coordinator's abort ends it with the code that it gives (LENGTH for
// an unknown one).
//
// What ends the session where a message is to be taken, in order of checks;
// from shares on LENGTH or REPLAY for another session come first:
//   cohort  COHORT_SIZE, LENGTH, COHORT_INVALID (order, our entry), DUP_KEY,
//           BAD_ROSTER, BAD_SIGNATURE, COHORT_INVALID (a key of low order)
//   shares  BAD_SIGNATURE, LENGTH (U2), U2_INVALID, LENGTH, NOT_ENOUGH; what
//           cannot be opened is no reason to leave but a complaint in the ack
//   open    BAD_SHARE: our complaint was ignored
//   freeze  BAD_SIGNATURE, LENGTH, U3_INVALID (with evidence)
//   unmask  LENGTH, TOO_FEW_SIGS
// and INTERNAL everywhere: random source or OpenSSL. Nothing else of a failed
// step leaves: the actions are then kEvidence if there is any, kSend of the
// code, kAborted.
class SecAggClient {
 public:
  enum class Phase {
    kReady,
    kAdvertised,
    kShared,
    kAcked,
    kMasked,
    kConfirmed,
    kUnmasked,
    kDone,
    kAborted
  };
  struct Options {
    Digest manifest = {};  // M
    ClientId id = {};
    const SigningKey* identity = nullptr;  // borrowed
    std::vector<PublicKey> coordinator;    // round keys; one must have signed
    RosterRoot roster;
    MaskedShape shape;
    RandomSource* random = nullptr;  // borrowed
    int threads = 1;                 // that make the masks
  };
  struct Action {
    enum class Kind {
      kSend,      // `message`
      kSpend,     // make durable that this device contributed in `session`
      kUpload,    // send `masked`, then call Uploaded
      kRemember,  // make durable which U3 was signed for `session`: `document`,
                  // a SignedStatement
      kEvidence,  // keep `document`, a Contradiction of the coordinator
      kAborted,   // `code`, `detail` for the device's own log; a kSend went
                  // before it that tells the code, unless the coordinator ended
                  // the session itself
    };
    Kind kind;
    v1::SecAggClientMessage message = {};
    Digest session = {};
    std::string masked = {};
    std::string document = {};
    v1::AbortCode code = v1::ABORT_UNSPECIFIED;
    std::string detail = {};
  };
  using Actions = std::vector<Action>;

  explicit SecAggClient(Options options);
  ~SecAggClient();
  SecAggClient(SecAggClient&&) noexcept;
  SecAggClient& operator=(SecAggClient&&) noexcept;

  // Makes the session's keys and advertises them; `input`, as long as the shape
  // says, is what will be masked (Quantize). Phase Advertised, or Aborted with
  // INTERNAL.
  Actions Start(RingVector input);
  Actions Handle(const v1::SecAggServerMessage& message);
  // The upload of kUpload is complete: announces it. Ignored outside Masked.
  Actions Uploaded();
  // The stream is new: the last message again. Nothing before Start, while the
  // vector is still leaving, and after the end.
  Actions Resend() const;
  // The shell cannot go on: DEADLINE, it gave up waiting; INTERNAL, its storage
  // failed. Tells the coordinator, wipes everything; phase Aborted. Ignored
  // after the end.
  Actions Fail(v1::AbortCode code, std::string_view detail);
  // Wipes everything; phase Done, unless it is Aborted.
  void End();

  Phase phase() const;
  // S; zero before the cohort is known.
  const Digest& session() const;
  // The masked vector left or may have left this device.
  bool spent() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_CLIENT_H_
