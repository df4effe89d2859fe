#include "simulations/mpi/outbox.h"

#include <chrono>
#include <thread>
#include <utility>

namespace edgetune {

void Outbox::Push(int to, std::string letter) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    letters_.push_back({to, std::move(letter)});
  }
  written_.notify_one();
}

void Outbox::Flush(Post& post) {
  std::deque<Written> letters;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    letters.swap(letters_);
  }
  for (Written& letter : letters) {
    post.Send(letter.to, std::move(letter.bytes));
  }
}

void Outbox::Wait(const Post& post) {
  constexpr std::chrono::milliseconds kIdle(1);
  if (post.busy()) return std::this_thread::yield();
  std::unique_lock<std::mutex> lock(mu_);
  written_.wait_for(lock, kIdle, [this] { return !letters_.empty(); });
}

}  // namespace edgetune
