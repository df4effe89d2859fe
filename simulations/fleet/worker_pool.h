#ifndef EDGETUNE_SIMULATIONS_FLEET_WORKER_POOL_H_
#define EDGETUNE_SIMULATIONS_FLEET_WORKER_POOL_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"

namespace edgetune {

// Threads that do the devices' computing, in the order of Submit. Life: make,
// Submit from one thread, destroy (waits for all). Which worker does a job, and
// when, must not show in what the job gives.
class WorkerPool {
 public:
  using Job = std::function<absl::Status()>;

  explicit WorkerPool(size_t workers);
  ~WorkerPool();

  std::future<absl::Status> Submit(Job job);
  // Submits all of them and waits, calling `while_waiting` some times a second.
  // The first error in their order, once all are done.
  absl::Status RunAll(std::vector<Job> jobs,
                      const std::function<void()>& while_waiting);
  size_t size() const { return threads_.size(); }
  // Of the worker that calls, from 0. Only within a job.
  static size_t CurrentWorker();

 private:
  void Loop(size_t worker);

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<absl::Status()>> jobs_;  // guarded by mu_
  bool end_ = false;                                     // guarded by mu_
  std::vector<std::thread> threads_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_WORKER_POOL_H_
