#ifndef EDGETUNE_TESTS_SIMULATIONS_MPI_MEMORY_POST_H_
#define EDGETUNE_TESTS_SIMULATIONS_MPI_MEMORY_POST_H_

#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "simulations/mpi/post.h"

namespace edgetune::testing {

// A job whose ranks are threads of this process. Thread-safe.
class MemoryJob {
 public:
  explicit MemoryJob(int size) : boxes_(static_cast<size_t>(size)) {}

  std::unique_ptr<Post> Join(int rank);
  // From now on nothing comes from this rank and nothing reaches it, as if it
  // had been killed.
  void Kill(int rank);
  int left() const;         // ranks that left in order
  size_t bytes() const;     // that were sent
  void Break(std::string);  // every post has this fault from now on

 private:
  class MemoryPost;

  mutable std::mutex mu_;  // guards all below
  std::vector<std::deque<Post::Letter>> boxes_;
  std::set<int> dead_;
  std::string fault_;
  int left_ = 0;
  size_t bytes_ = 0;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_MPI_MEMORY_POST_H_
