#ifndef EDGETUNE_SERVER_RPC_WATCH_STREAM_H_
#define EDGETUNE_SERVER_RPC_WATCH_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "protos/edgetune/v1/operator.pb.h"
#include "server/coordinator.h"

namespace edgetune {

// An operator who follows one run: writes the newest status, skipping those
// that came while it wrote, and ends after the last. Life: Open; keeps itself
// alive until gRPC is done with it. Thread-safe; the lock is never held while
// the coordinator is called.
class WatchStream final : public grpc::ServerWriteReactor<v1::RunStatus> {
 public:
  static WatchStream* Open(const std::string& run_id, Coordinator* coordinator);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  explicit WatchStream(Coordinator* coordinator) : coordinator_(coordinator) {}

  void Show(const v1::RunStatus& status);
  void Advance();

  Coordinator* const coordinator_;
  std::shared_ptr<WatchStream> self_;  // until OnDone
  std::optional<uint64_t> watch_;      // set before any reaction

  std::mutex mu_;
  // All below guarded by mu_; current_ is gRPC's while writing_.
  v1::RunStatus current_;
  std::optional<v1::RunStatus> newest_;
  bool writing_ = false;
  std::optional<absl::Status> ending_;
  bool finished_ = false;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_WATCH_STREAM_H_
