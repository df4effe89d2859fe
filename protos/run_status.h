#ifndef EDGETUNE_PROTOS_RUN_STATUS_H_
#define EDGETUNE_PROTOS_RUN_STATUS_H_

// What follows from a run's status alone. Stateless.

#include "protos/edgetune/v1/operator.pb.h"

namespace edgetune {

inline bool HasEnded(const v1::RunStatus& status) {
  return status.state() == v1::RunStatus::FINISHED ||
         status.state() == v1::RunStatus::FAILED ||
         status.state() == v1::RunStatus::STOPPED;
}

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_RUN_STATUS_H_
