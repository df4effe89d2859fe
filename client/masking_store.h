#ifndef EDGETUNE_CLIENT_MASKING_STORE_H_
#define EDGETUNE_CLIENT_MASKING_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_session.h"
#include "client/masked_assignment.h"
#include "storage/database.h"

namespace edgetune {

// What a device must never forget of masked rounds: from which adapters it has
// contributed, how far roster and chain of adapters have come, which survivor
// sets it signed, and evidence of a coordinator that signed two. No secret of
// a session is ever here. Thread-safe through Database, which it borrows.
class MaskingStore {
 public:
  // A survivor set that this device signed.
  struct Signed {
    SessionId id;
    std::string session;   // S
    std::string document;  // serialised SignedStatement of the coordinator
    int64_t signed_ms = 0;
  };

  explicit MaskingStore(Database* database) : database_(database) {}

  static const char* Migration();

  // Compares with what this device saw before, and raises the marks. Errors
  // carry the abort code: BAD_ROSTER (an older roster), REPLAY (another chain
  // of adapters), SPENT.
  absl::Status Admit(const MaskedTerms::History& history);
  // Before keys leave: a device that restarts after this has lost them.
  absl::Status MarkAdvertised(const SessionId& id);
  absl::StatusOr<bool> HasAdvertised(const SessionId& id);
  // Before the first masked byte leaves.
  absl::Status Spend(const MaskedTerms::History& history,
                     const Digest& session, absl::Time now);
  absl::Status RememberSurvivors(const SessionId& id, const Digest& session,
                                 const std::string& document, absl::Time now);
  absl::Status KeepEvidence(const Digest& session, const std::string& document,
                            absl::Time now);
  // What was signed in session S; nullopt: nothing.
  absl::StatusOr<std::optional<Signed>> FindSigned(const std::string& session);

 private:
  Database* const database_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_MASKING_STORE_H_
