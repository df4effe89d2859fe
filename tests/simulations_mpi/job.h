#ifndef EDGETUNE_TESTS_SIMULATIONS_MPI_JOB_H_
#define EDGETUNE_TESTS_SIMULATIONS_MPI_JOB_H_

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "simulations/mpi/rank_engine.h"
#include "simulations/mpi/rank_server.h"
#include "simulations/mpi/ranks.h"
#include "tests/client/fixture.h"
#include "tests/simulations_mpi/memory_post.h"

namespace edgetune::testing {

// Ranks 1 and on of a job, each a thread with the fixture's engine, for the
// plan of a test run; rank 0 is the test's thread. Set what differs, Start,
// then use `ranks`.
class Job {
 public:
  Job(const TestRun& run, int size, uint32_t workers);
  ~Job();

  void Start();
  // Of all ranks but 0.
  int trainings() const;
  // What each of them ended with, after `ranks` has ended.
  std::vector<absl::Status> Served();

  MemoryJob memory;
  StopToken interrupted{false};
  std::vector<Hello> hellos;               // by rank
  std::vector<FakeEngine> engines;         // by rank
  std::vector<RankServerOptions> servers;  // by rank; [0] is unused
  Ranks::Options options;
  std::optional<Ranks> ranks;

 private:
  std::vector<std::unique_ptr<Post>> posts_;
  std::vector<absl::Status> served_;
  std::vector<std::thread> threads_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_MPI_JOB_H_
