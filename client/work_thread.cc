#include "client/work_thread.h"

#include <utility>

#include "base/status.h"

namespace edgetune {

WorkThread::WorkThread() : thread_([this] { Loop(); }) {}

WorkThread::~WorkThread() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    end_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void WorkThread::Start(WorkStep /*step*/, Job job, Done done) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    EDGETUNE_CHECK(!job_);
    job_ = [job = std::move(job), done = std::move(done)] { done(job()); };
  }
  changed_.notify_one();
}

void WorkThread::Loop() {
  while (true) {
    std::function<void()> job;
    {
      std::unique_lock<std::mutex> lock(mu_);
      changed_.wait(lock, [this] { return end_ || job_; });
      if (!job_) return;
      job = std::exchange(job_, nullptr);
    }
    job();
  }
}

}  // namespace edgetune
