#include "server/rpc/watch_stream.h"

#include <utility>

#include "protos/grpc_status.h"
#include "protos/run_status.h"

namespace edgetune {
WatchStream* WatchStream::Open(const std::string& run_id,
                               Coordinator* coordinator) {
  std::shared_ptr<WatchStream> stream(new WatchStream(coordinator));
  stream->self_ = stream;
  auto watch = coordinator->Watch(
      run_id, [stream](const v1::RunStatus& status) { stream->Show(status); });
  if (watch.ok()) {
    stream->watch_ = *watch;
  } else {
    std::lock_guard<std::mutex> lock(stream->mu_);
    stream->ending_ = watch.status();
    stream->Advance();
  }
  return stream.get();
}

void WatchStream::Show(const v1::RunStatus& status) {
  std::lock_guard<std::mutex> lock(mu_);
  if (ending_.has_value()) return;
  newest_ = status;
  if (HasEnded(status)) ending_ = absl::OkStatus();
  Advance();
}

void WatchStream::Advance() {
  if (writing_ || finished_) return;
  if (newest_.has_value()) {
    current_ = *std::move(newest_);
    newest_.reset();
    writing_ = true;
    StartWrite(&current_);
  } else if (ending_.has_value()) {
    finished_ = true;
    Finish(ToGrpcStatus(*ending_));
  }
}

void WatchStream::OnWriteDone(bool ok) {
  std::lock_guard<std::mutex> lock(mu_);
  writing_ = false;
  if (!ok) {
    newest_.reset();
    if (!ending_.has_value()) ending_ = absl::CancelledError("not watched");
  }
  Advance();
}

void WatchStream::OnCancel() {
  std::lock_guard<std::mutex> lock(mu_);
  newest_.reset();
  if (!ending_.has_value()) ending_ = absl::CancelledError("not watched");
  Advance();
}

void WatchStream::OnDone() {
  // Drops the coordinator's function, which holds a reference to this.
  if (watch_.has_value()) coordinator_->Unwatch(*watch_);
  std::shared_ptr<WatchStream> last = std::move(self_);
}

}  // namespace edgetune
