#include "client/mailbox.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"

namespace edgetune {

Mailbox::Mailbox() { EDGETUNE_CHECK(sem_init(&ready_, 0, 0) == 0); }
Mailbox::~Mailbox() { sem_destroy(&ready_); }

void Mailbox::Push(ClientEvent event) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    events_.push_back(std::move(event));
  }
  sem_post(&ready_);
}

void Mailbox::Nudge() { sem_post(&ready_); }

std::optional<ClientEvent> Mailbox::Take(absl::Duration timeout) {
  const timespec until =
      absl::ToTimespec(absl::Now() + std::max(timeout, absl::ZeroDuration()));
  while (sem_timedwait(&ready_, &until) != 0 && errno == EINTR) {
  }
  std::lock_guard<std::mutex> lock(mu_);
  if (events_.empty()) return std::nullopt;
  ClientEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace edgetune
