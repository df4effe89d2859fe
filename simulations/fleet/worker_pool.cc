#include "simulations/fleet/worker_pool.h"

#include <chrono>
#include <utility>

namespace edgetune {
namespace {

thread_local size_t current_worker = 0;

}  // namespace

WorkerPool::WorkerPool(size_t workers) {
  for (size_t i = 0; i < workers; ++i) {
    threads_.emplace_back([this, i] { Loop(i); });
  }
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    end_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::future<absl::Status> WorkerPool::Submit(Job job) {
  std::packaged_task<absl::Status()> task(std::move(job));
  std::future<absl::Status> result = task.get_future();
  {
    std::lock_guard<std::mutex> lock(mu_);
    jobs_.push_back(std::move(task));
  }
  changed_.notify_one();
  return result;
}

absl::Status WorkerPool::RunAll(std::vector<Job> jobs,
                                const std::function<void()>& while_waiting) {
  constexpr std::chrono::milliseconds kTick(100);
  std::vector<std::future<absl::Status>> running;
  for (Job& job : jobs) running.push_back(Submit(std::move(job)));
  absl::Status first;
  for (std::future<absl::Status>& job : running) {
    while (job.wait_for(kTick) != std::future_status::ready) while_waiting();
    const absl::Status status = job.get();
    if (first.ok()) first = status;
  }
  while_waiting();
  return first;
}

size_t WorkerPool::CurrentWorker() { return current_worker; }

void WorkerPool::Loop(size_t worker) {
  current_worker = worker;
  while (true) {
    std::packaged_task<absl::Status()> job;
    {
      std::unique_lock<std::mutex> lock(mu_);
      changed_.wait(lock, [this] { return end_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace edgetune
