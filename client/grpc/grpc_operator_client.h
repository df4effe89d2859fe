#ifndef EDGETUNE_CLIENT_GRPC_GRPC_OPERATOR_CLIENT_H_
#define EDGETUNE_CLIENT_GRPC_GRPC_OPERATOR_CLIENT_H_

#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/grpc/operator_client.h"
#include "edgetune/v1/operator.grpc.pb.h"

namespace edgetune {

// OperatorClient over gRPC. A call that finds the connection broken makes a
// new channel for the next one. Thread-safe.
class GrpcOperatorClient final : public OperatorClient {
 public:
  GrpcOperatorClient(Kit kit, std::string address)
      : kit_(std::move(kit)), address_(std::move(address)) {}

  // One cheap call: finds connection and role problems before a long upload.
  absl::Status Probe();

  absl::Status PutPart(
      const Digest& digest, std::span<const uint8_t> bytes,
      const std::function<void(uint64_t, uint64_t)>& progress) override;
  absl::StatusOr<v1::RunStatus> Submit(const v1::Envelope& plan) override;
  absl::StatusOr<std::vector<v1::RunStatus>> List() override;
  absl::StatusOr<v1::RunStatus> Show(const std::string& run_id) override;
  absl::StatusOr<v1::RunStatus> Stop(const std::string& run_id) override;
  absl::StatusOr<v1::RunStatus> Override(
      const v1::Envelope& envelope) override;
  absl::StatusOr<v1::RunStatus> Watch(
      const std::string& run_id,
      const std::function<bool(const v1::RunStatus&)>& on_status) override;
  absl::StatusOr<std::string> Fetch(const Digest& digest) override;

 private:
  using Stub = v1::Operator::Stub;
  struct Watching;

  std::shared_ptr<grpc::Channel> Channel();
  // Hands a call's status on; drops the channel when the connection was at
  // fault.
  absl::Status Told(absl::Status status);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Unary(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request);
  // Runs `attempt` until it succeeds, fails for good, or 60 s passed without
  // one that got further (`attempt` sets the flag).
  absl::Status Persist(const std::function<absl::Status(bool&)>& attempt);
  absl::Status PutRest(const v1::PartKey& key, std::span<const uint8_t> bytes,
                       const std::function<void(uint64_t, uint64_t)>& progress,
                       bool& advanced);
  absl::Status WatchOnce(const v1::RunKey& key, Watching& watching,
                         bool& advanced);

  const Kit kit_;
  const std::string address_;
  std::mutex mu_;
  std::shared_ptr<grpc::Channel> channel_;  // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_GRPC_OPERATOR_CLIENT_H_
