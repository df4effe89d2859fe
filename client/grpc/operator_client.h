#ifndef EDGETUNE_CLIENT_GRPC_OPERATOR_CLIENT_H_
#define EDGETUNE_CLIENT_GRPC_OPERATOR_CLIENT_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/kit.h"
#include "protos/edgetune/v1/operator.pb.h"

namespace edgetune {

// An operator's calls to a coordinator, blocking, over mutual TLS. One
// instance may be used from several threads. Errors: kConnection with the
// address and what to check, kIdentity for certificate and role problems.
class OperatorClient {
 public:
  // `address` empty: the kit's.
  static absl::StatusOr<std::unique_ptr<OperatorClient>> Connect(
      const Kit& kit, const std::string& address);
  virtual ~OperatorClient() = default;

  // Uploads what the server does not hold yet, resuming; `progress` gets bytes
  // there and in all. DataLoss: the server got other bytes.
  virtual absl::Status PutPart(
      const Digest& digest, std::span<const uint8_t> bytes,
      const std::function<void(uint64_t, uint64_t)>& progress) = 0;
  virtual absl::StatusOr<v1::RunStatus> Submit(const v1::Envelope& plan) = 0;
  virtual absl::StatusOr<std::vector<v1::RunStatus>> List() = 0;
  virtual absl::StatusOr<v1::RunStatus> Show(const std::string& run_id) = 0;
  virtual absl::StatusOr<v1::RunStatus> Stop(const std::string& run_id) = 0;
  // Hands in a SpentOverride, signed by the release key.
  virtual absl::StatusOr<v1::RunStatus> Override(
      const v1::Envelope& envelope) = 0;
  // Until the run has ended, `on_status` returns false, or the connection
  // stays broken for longer than 60 s (it reconnects with back-off meanwhile).
  virtual absl::StatusOr<v1::RunStatus> Watch(
      const std::string& run_id,
      const std::function<bool(const v1::RunStatus&)>& on_status) = 0;
  // Whole blob, digest verified (kDigestMismatch).
  virtual absl::StatusOr<std::string> Fetch(const Digest& digest) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_OPERATOR_CLIENT_H_
