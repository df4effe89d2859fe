#ifndef EDGETUNE_CLIENT_WORK_THREAD_H_
#define EDGETUNE_CLIENT_WORK_THREAD_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"

namespace edgetune {

// One thread for the long steps, always the same one (engines bind their own
// pools to it). Life: Start jobs one after the other, destroy (waits for the
// job in progress). Start and the destructor belong to the owner's thread.
class WorkThread {
 public:
  using Job = std::function<absl::Status()>;
  using Done = std::function<void(absl::Status)>;

  // `done` is called on the work thread after each job.
  explicit WorkThread(Done done);
  ~WorkThread();

  // The job before must be done.
  void Start(Job job);

 private:
  void Loop();

  const Done done_;
  std::mutex mu_;
  std::condition_variable changed_;
  Job job_;           // guarded by mu_
  bool end_ = false;  // guarded by mu_
  std::thread thread_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_WORK_THREAD_H_
