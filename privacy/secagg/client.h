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
// actions out; no clock, disk, network or threads. The shell performs the
// actions in order, persists before it goes on, and abandons the session when
// persisting fails. The manifest was verified before (client/assignment); this
// class checks everything that comes after it.
//
// Life: Start once, Handle for each message, Uploaded after an upload, End
// when the coordinator said what became of the session. Secrets live here
// only and are wiped on the last answer, End, an abort and destruction. A
// process that restarts has no session and is a dropout. One thread.
//
//            cohort   shares  open    freeze     unmask     same again
// Ready      -        -       -       -          -
// Advertised >Shared  abort   abort   abort      abort      (answer repeated)
// Shared     REPLAY   >Acked  abort   abort      abort      repeated
// Acked      REPLAY   REPLAY  >Masked abort      abort      repeated
// Masked     REPLAY   REPLAY  repeat  >Confirmed abort      repeated
// Confirmed  REPLAY   REPLAY  REPLAY  repeat or  >Unmasked  repeated
//                                     U3_EQUIV.
// Unmasked   ...      ...     ...     U3_EQUIV.  REPLAY     repeated
// Done, Aborted: nothing, for ever
//
// A message of a later phase than the next is REPLAY; the abort of the
// coordinator ends the session in every phase.
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
                  // before it that tells the code
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

  // Makes the session's keys and advertises them; `input` is what will be
  // masked (Quantize). INTERNAL: no randomness.
  Actions Start(RingVector input);
  Actions Handle(const v1::SecAggServerMessage& message);
  // The upload of kUpload is complete.
  Actions Uploaded();
  // The stream is new: the last message again, if one waits for an answer.
  Actions Resend() const;
  // The shell cannot go on: DEADLINE, it gave up waiting; INTERNAL, its storage
  // failed. Tells the coordinator, wipes everything; phase Aborted.
  Actions Fail(v1::AbortCode code, std::string_view detail);
  // Wipes everything; phase Done.
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
