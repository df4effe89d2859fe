#ifndef EDGETUNE_SERVER_PUBLISHED_ROSTER_H_
#define EDGETUNE_SERVER_PUBLISHED_ROSTER_H_

#include <cstdint>

#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/envelope.pb.h"

namespace edgetune {

// A roster as the enrolment authority signed it; verified by whoever made it.
// Immutable, shared by the coordinator and the rounds that began under it.
struct PublishedRoster {
  v1::Envelope head;
  uint64_t version = 0;
  Roster roster;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_PUBLISHED_ROSTER_H_
