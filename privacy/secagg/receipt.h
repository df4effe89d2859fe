#ifndef EDGETUNE_PRIVACY_SECAGG_RECEIPT_H_
#define EDGETUNE_PRIVACY_SECAGG_RECEIPT_H_

// What a committed masked round leaves behind for anybody to check. Pure
// functions, thread-safe. They show that in each group at least t members
// signed one survivor set; not that the published adapter is the sum over it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/envelope.h"
#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "protos/edgetune/v1/secagg.pb.h"

namespace edgetune::secagg {

// A receipt of which CheckReceipt found every claim to hold.
struct CheckedReceipt {
  struct Group {
    uint32_t members = 0;    // n
    uint32_t threshold = 0;  // t
    uint32_t survivors = 0;  // k: whose vectors are in the group's sum
    uint32_t signers = 0;    // of the survivors, who signed the set
  };
  v1::RoundReceipt receipt;
  v1::RoundManifest manifest;
  std::vector<Group> groups;  // as in `receipt`
};

// Needs nothing but pinned keys. In this order: the coordinator signed receipt
// and manifest, both for one run; the enrolment authority signed the roster,
// which is the one that the manifest names and was in date then; parameters of
// masking that cannot wrap; in each group: ids ascend, sizes, members enrolled
// and active, keys that their owners signed for this manifest and that differ
// from all others, S, t, survivors among U2 and at least t, signatures of at
// least t survivors; the number of survivors; a result unless the round only
// evaluated.
// InvalidArgument with kUsage: not a receipt; with kFailed: it does not show
// what a receipt has to. VerifyDocument's and CheckHeader's errors (kIdentity).
absl::StatusOr<CheckedReceipt> CheckReceipt(const v1::Envelope& envelope,
                                            const TrustedKeys& keys,
                                            absl::Time now);

// Where a client stands in a receipt.
struct ReceiptPlace {
  size_t group = 0;
  uint32_t index = 0;     // in the group's cohort
  bool survived = false;  // its vector is in the sum
  bool has_signed = false;
};
// nullopt: it is in no cohort of the round.
std::optional<ReceiptPlace> FindInReceipt(const CheckedReceipt& receipt,
                                          const ClientId& id);

// Compares with what a member wrote down when it signed (SecAggClient's
// kRemember): the same U2 and U3 for the same session, under a round key.
// InvalidArgument (kFailed): another set, so the coordinator signed two.
// DataLoss: the record is unreadable.
absl::Status CompareWithRecord(const v1::GroupReceipt& group,
                               std::string_view record,
                               const TrustedKeys& keys);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_RECEIPT_H_
