#ifndef EDGETUNE_CLIENT_WORK_RUNNER_H_
#define EDGETUNE_CLIENT_WORK_RUNNER_H_

#include <functional>

#include "absl/status/status.h"

namespace edgetune {

// The long steps of a session; kUpload is that of a masked vector too.
enum class WorkStep { kFetch, kEvaluate, kTrain, kUpload };

// Does the long steps of one client, one at a time: a thread on a device
// (WorkThread), the workers of a fleet in a simulation.
class WorkRunner {
 public:
  using Job = std::function<absl::Status()>;
  using Done = std::function<void(absl::Status)>;

  virtual ~WorkRunner() = default;
  // Runs `job` and calls `done` with what it returned, on whatever thread. The
  // job before must be done. Belongs to the client's thread.
  virtual void Start(WorkStep step, Job job, Done done) = 0;
  // The job in progress was told to stop by a token that it looks at, and ends
  // soon; what it returns matters no more.
  virtual void Interrupt() = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_WORK_RUNNER_H_
