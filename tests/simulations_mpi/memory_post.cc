#include "tests/simulations_mpi/memory_post.h"

#include <cstdlib>
#include <optional>
#include <utility>

namespace edgetune::testing {

class MemoryJob::MemoryPost final : public Post {
 public:
  MemoryPost(MemoryJob* job, int rank) : job_(job), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(job_->boxes_.size()); }
  int neighbours() const override { return size(); }
  std::string host() const override { return "memory"; }

  void Send(int to, std::string bytes) override {
    const std::lock_guard<std::mutex> lock(job_->mu_);
    if (job_->dead_.contains(rank_) || job_->dead_.contains(to)) return;
    job_->bytes_ += bytes.size();
    job_->boxes_[static_cast<size_t>(to)].push_back({rank_, std::move(bytes)});
  }
  std::optional<Letter> Receive() override {
    const std::lock_guard<std::mutex> lock(job_->mu_);
    auto& box = job_->boxes_[static_cast<size_t>(rank_)];
    if (box.empty()) return std::nullopt;
    Letter letter = std::move(box.front());
    box.pop_front();
    return letter;
  }
  bool busy() const override { return false; }
  std::string fault() const override {
    const std::lock_guard<std::mutex> lock(job_->mu_);
    return job_->fault_;
  }
  void Leave() override {
    const std::lock_guard<std::mutex> lock(job_->mu_);
    ++job_->left_;
  }
  [[noreturn]] void Abort(int exit_code) override { std::_Exit(exit_code); }

 private:
  MemoryJob* const job_;
  const int rank_;
};

std::unique_ptr<Post> MemoryJob::Join(int rank) {
  return std::make_unique<MemoryPost>(this, rank);
}

void MemoryJob::Kill(int rank) {
  const std::lock_guard<std::mutex> lock(mu_);
  dead_.insert(rank);
  boxes_[static_cast<size_t>(rank)].clear();
}

int MemoryJob::left() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return left_;
}

size_t MemoryJob::bytes() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return bytes_;
}

void MemoryJob::Break(std::string fault) {
  const std::lock_guard<std::mutex> lock(mu_);
  fault_ = std::move(fault);
}

}  // namespace edgetune::testing
