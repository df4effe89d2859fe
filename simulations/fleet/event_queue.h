#ifndef EDGETUNE_SIMULATIONS_FLEET_EVENT_QUEUE_H_
#define EDGETUNE_SIMULATIONS_FLEET_EVENT_QUEUE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/time/time.h"

namespace edgetune {

// What will happen in virtual time: earliest first, and in the order of At
// among those of one instant, so that a simulation repeats. One thread.
class EventQueue {
 public:
  using Event = std::function<void()>;

  void At(absl::Time when, Event event) {
    events_.emplace(std::make_pair(when, next_++), std::move(event));
  }
  // InfiniteFuture: nothing will happen.
  absl::Time NextTime() const {
    return events_.empty() ? absl::InfiniteFuture()
                           : events_.begin()->first.first;
  }
  // Takes the next event out; there must be one.
  Event Take() {
    Event event = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    return event;
  }

 private:
  std::map<std::pair<absl::Time, uint64_t>, Event> events_;
  uint64_t next_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_EVENT_QUEUE_H_
