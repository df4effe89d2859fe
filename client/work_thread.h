#ifndef EDGETUNE_CLIENT_WORK_THREAD_H_
#define EDGETUNE_CLIENT_WORK_THREAD_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "client/work_runner.h"

namespace edgetune {

// One thread for the long steps, always the same one (engines bind their own
// pools to it). Life: Start jobs one after the other, destroy (waits for the
// job in progress). Start and the destructor belong to the owner's thread.
class WorkThread final : public WorkRunner {
 public:
  WorkThread();
  ~WorkThread() override;

  void Start(WorkStep step, Job job, Done done) override;
  void Interrupt() override {}

 private:
  void Loop();

  std::mutex mu_;
  std::condition_variable changed_;
  std::function<void()> job_;  // guarded by mu_
  bool end_ = false;           // guarded by mu_
  std::thread thread_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_WORK_THREAD_H_
