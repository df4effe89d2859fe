#include "simulations/in_process_stream.h"

#include <utility>

namespace edgetune {

void InProcessStream::Send(const v1::ServerMessage& message) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closed_.has_value()) return;
    sent_.push_back(message);
  }
  changed_.notify_one();
}

void InProcessStream::Say(const v1::ClientMessage& message) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closed_.has_value()) return;
    said_.push_back(message);
  }
  changed_.notify_one();
}

void InProcessStream::Handled() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    in_hand_ = false;
  }
  changed_.notify_one();
}

void InProcessStream::Close(const absl::Status& reason) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closed_.has_value()) return;
    closed_ = reason.ok() ? absl::UnavailableError("the stream ended") : reason;
    said_.clear();
  }
  changed_.notify_one();
}

absl::StatusOr<InProcessStream::Message> InProcessStream::Take() {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] {
    return closed_.has_value() || !sent_.empty() || MaySay();
  });
  Message message;
  if (!sent_.empty()) {
    message = std::move(sent_.front());
    sent_.pop_front();
  } else if (MaySay()) {
    message = std::move(said_.front());
    said_.pop_front();
    in_hand_ = true;
  } else {
    return *closed_;
  }
  return message;
}

bool InProcessStream::closed() const {
  std::lock_guard<std::mutex> lock(mu_);
  return closed_.has_value();
}

}  // namespace edgetune
