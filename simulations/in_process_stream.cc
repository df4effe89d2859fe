#include "simulations/in_process_stream.h"

#include <utility>

namespace edgetune {

void InProcessStream::Send(const v1::ServerMessage& message) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closed_.has_value()) return;
    messages_.push_back(message);
  }
  changed_.notify_one();
}

void InProcessStream::Close(const absl::Status& reason) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closed_.has_value()) return;
    closed_ = reason.ok() ? absl::UnavailableError("the stream ended") : reason;
  }
  changed_.notify_one();
}

absl::StatusOr<v1::ServerMessage> InProcessStream::Take() {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock,
                [this] { return closed_.has_value() || !messages_.empty(); });
  if (messages_.empty()) return *closed_;
  v1::ServerMessage message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

bool InProcessStream::closed() const {
  std::lock_guard<std::mutex> lock(mu_);
  return closed_.has_value();
}

}  // namespace edgetune
