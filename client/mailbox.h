#ifndef EDGETUNE_CLIENT_MAILBOX_H_
#define EDGETUNE_CLIENT_MAILBOX_H_

#include <semaphore.h>

#include <deque>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "protos/edgetune/v1/federation.pb.h"

namespace edgetune {

// What the client's loop waits for: news of the transport and of its work.
struct ClientEvent {
  enum class Type { kUp, kMessage, kDown, kStep };
  Type type;
  v1::ServerMessage message = {};
  absl::Status status = absl::OkStatus();  // of kDown and kStep
};

// Many writers, one reader. Thread-safe; Nudge is async-signal-safe, which a
// condition variable cannot be.
class Mailbox {
 public:
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void Push(ClientEvent event);
  void Nudge();  // makes one Take return early
  // The oldest event; nullopt after a nudge or `timeout`.
  std::optional<ClientEvent> Take(absl::Duration timeout);

 private:
  sem_t ready_;
  std::mutex mu_;
  std::deque<ClientEvent> events_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_MAILBOX_H_
