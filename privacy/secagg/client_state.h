#ifndef EDGETUNE_PRIVACY_SECAGG_CLIENT_STATE_H_
#define EDGETUNE_PRIVACY_SECAGG_CLIENT_STATE_H_

// The inside of SecAggClient, for its sources only. A step that fails returns a
// status with an abort code; one without (a source or OpenSSL failed) counts as
// INTERNAL. Nothing of a failed step leaves but `evidence`.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/client.h"
#include "privacy/secagg/session_keys.h"

namespace edgetune::secagg {

struct SecAggClient::State {
  // Coordinator messages in order; each is answered once.
  enum Step { kCohort, kForwarded, kOpen, kFreeze, kUnmask, kSteps };

  struct Peer {
    ClientId id = {};
    std::optional<PublicKey> identity;
    SecretBytes seal_key;    // for what we send it; gone after R2
    SecretBytes open_key;    // for what it sends us; gone after R2b
    SecretBytes mask_key;    // k_uv; gone after R3
    std::string commitment;  // com of the peer, from R2b on
    SharePair held;          // our shares of its secrets
  };

  explicit State(Options o) : options(std::move(o)) {}
  ~State();

  using Answer = absl::StatusOr<v1::SecAggClientMessage>;

  // client.cc
  absl::Status Advertise();
  absl::Status Take(const v1::SecAggServerMessage& message, Actions& actions);
  Answer Dispatch(const v1::SecAggServerMessage& message, Actions& actions);
  void Repeat(Step step, Actions& actions) const;
  Actions Abort(const absl::Status& status);
  void WipeSecrets();
  void WipeAnswers();

  // client_cohort.cc: R1 and R2
  Answer OnCohort(const v1::Cohort& message);
  absl::Status CheckCohort(const v1::Cohort& message) const;
  absl::Status CheckCount(const v1::Cohort& message) const;
  absl::Status CheckOwnEntry(const v1::Cohort& message) const;
  absl::Status CheckMembers(const v1::Cohort& message) const;
  absl::Status JoinCohort(const v1::Cohort& message);
  absl::Status AgreeWithAll(const v1::Cohort& message);
  absl::StatusOr<std::vector<SharePair>> DealShares();
  Answer SealAll(std::vector<SharePair> deal);

  // client_shares.cc: R2b and R3
  Answer OnForwarded(const v1::ForwardedShares& message);
  absl::Status CheckForwarded(const v1::ForwardedShares& message);
  std::vector<uint32_t> OpenAll(const v1::ForwardedShares& message);
  Answer OnOpen(const v1::OpenInput& message, Actions& actions);
  absl::Status MaskInput();

  // client_unmask.cc: R4 and R5
  Answer OnFreeze(const v1::Freeze& message, Actions& actions);
  absl::Status CheckSurvivors(const v1::Freeze& message);
  Answer OnUnmask(const v1::UnmaskRequest& message);
  absl::Status CheckSignatures(const v1::UnmaskRequest& message) const;
  v1::UnmaskShares SharesToShow() const;
  // Another message for a step that was taken.
  absl::Status Contradicted(const v1::SecAggServerMessage& message);

  // BAD_SIGNATURE, naming `what`: no key of the coordinator signed this.
  absl::StatusOr<v1::SignedStatement> SignedByCoordinator(
      std::string statement, const std::string& signature,
      std::string_view what) const;
  void KeepEvidence(const v1::SignedStatement& first,
                    const v1::SignedStatement& second);
  size_t size() const { return peers.size(); }

  const Options options;
  Phase phase = Phase::kReady;
  bool spent = false;
  bool uploaded = false;
  std::string evidence;  // of the step under way
  std::array<Digest, kSteps> taken = {};
  // The answer to each step; R5's holds shares.
  std::array<std::optional<v1::SecAggClientMessage>, kSteps> answers;

  v1::AdvertiseKeys advertised;
  std::optional<X25519Key> c_key, s_key;  // gone after R2
  RingVector input;                       // gone after R3

  Digest session = {};
  std::vector<Peer> peers;  // the cohort; our own place holds our own shares
  uint32_t self = 0;
  uint32_t threshold = 0;
  SecretBytes seed;        // b; gone after R3
  std::string commitment;  // com of b
  std::string u2, u3;      // bitmaps
  std::vector<bool> in_u2, in_u3;
  v1::SignedStatement u2_signed, u3_signed;  // by the coordinator
  bool complained = false;
  std::string masked;  // until R4
};

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_CLIENT_STATE_H_
