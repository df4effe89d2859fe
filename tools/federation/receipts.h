#ifndef EDGETUNE_TOOLS_FEDERATION_RECEIPTS_H_
#define EDGETUNE_TOOLS_FEDERATION_RECEIPTS_H_

// Receipts of masked rounds: fetched, read, compared with a device's own log,
// and put into words. `receipt verify`, `run download` and `demo` share it.
// Stateless.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/secagg/receipt.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "tools/operator_calls.h"

namespace edgetune {

// A receipt as it was signed, and what it shows.
struct HeldReceipt {
  std::string bytes;  // an Envelope
  secagg::CheckedReceipt checked;
};
// CheckReceipt's errors; InvalidArgument (kUsage): no envelope at all.
absl::StatusOr<HeldReceipt> ReadReceipt(std::string bytes,
                                        const TrustedKeys& keys,
                                        absl::Time now);

// Every receipt of a run, oldest first, none for a run in the clear. Each is
// checked, belongs to the run, names the one before and the adapter that its
// round published. kIdentity, kFailed, kDigestMismatch.
absl::StatusOr<std::vector<HeldReceipt>> DownloadReceipts(
    OperatorSession& session, const v1::RunStatus& status);
// The same without a coordinator: `blobs` as fetched.
absl::StatusOr<std::vector<HeldReceipt>> CheckReceipts(
    std::vector<std::string> blobs, const v1::RunStatus& status,
    const TrustedKeys& keys);
// Into <directory>/receipts, which must not exist; nothing without receipts.
absl::Status WriteReceipts(const std::string& directory,
                           const std::vector<HeldReceipt>& receipts);
// "round-2.pb", as people count rounds; "closing-evaluation.pb".
std::string ReceiptFileName(const secagg::CheckedReceipt& checked);

// What a device itself says of a receipt.
struct OwnWord {
  std::string device;
  secagg::ReceiptPlace place;
  // Its log holds exactly this survivor set. nullopt: nobody looked.
  std::optional<absl::Time> signed_at;
};
// Looks into the log in a client's state directory. kUsage: no state there;
// kFailed: it is in use, the device is not in the sum, it signed nothing in
// the session, or another set.
absl::StatusOr<OwnWord> AskDevice(const secagg::CheckedReceipt& checked,
                                  const TrustedKeys& keys,
                                  const std::string& device,
                                  const std::string& state);

// What is shown and what is not. `own`: of whom to speak besides.
std::string ReceiptText(const secagg::CheckedReceipt& checked,
                        const std::optional<OwnWord>& own);
nlohmann::json ReceiptJson(const secagg::CheckedReceipt& checked,
                           const std::optional<OwnWord>& own);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_FEDERATION_RECEIPTS_H_
