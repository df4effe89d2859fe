#ifndef EDGETUNE_SIMULATIONS_MPI_OUTBOX_H_
#define EDGETUNE_SIMULATIONS_MPI_OUTBOX_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "simulations/mpi/post.h"

namespace edgetune {

// Letters that any thread writes and the one thread that talks to the Post
// sends. Thread-safe; Flush and Wait belong to that thread.
class Outbox {
 public:
  void Push(int to, std::string letter);
  // Gives all of them to the post, in the order of Push.
  void Flush(Post& post);
  // Until there is something to do: a moment while transfers are under way, at
  // most a millisecond while none is. MPI has nothing to sleep on, and asking
  // it without a pause would cost a core that trains.
  void Wait(const Post& post);

 private:
  std::mutex mu_;
  std::condition_variable written_;
  struct Written {
    int to;
    std::string bytes;
  };
  std::deque<Written> letters_;  // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_OUTBOX_H_
