#include "tests/simulations_mpi/job.h"

#include <utility>

#include "base/status.h"
#include "client/train_plan.h"
#include "protos/plan_check.h"

namespace edgetune::testing {

Job::Job(const TestRun& run, int size, uint32_t workers)
    : memory(size),
      engines(static_cast<size_t>(size)),
      servers(static_cast<size_t>(size)),
      served_(static_cast<size_t>(size)) {
  Adapter adapter;
  adapter.spec = AdapterSpecOf(run.plan);
  adapter.layout = *AdapterLayout(run.plan);
  for (int rank = 0; rank < size; ++rank) {
    posts_.push_back(memory.Join(rank));
    Hello& hello = hellos.emplace_back();
    hello.host = "memory";
    hello.workers = workers;
    RankServerOptions& server = servers[static_cast<size_t>(rank)];
    server.post = posts_.back().get();
    server.engine = &engines[static_cast<size_t>(rank)];
    server.model = *ModelFile::Open(run.model_path);
    server.adapter = adapter;
    server.interrupted = &interrupted;
  }
  options = {.post = posts_[0].get(), .interrupted = &interrupted};
}

Job::~Job() {
  ranks.reset();
  for (std::thread& thread : threads_) thread.join();
}

void Job::Start() {
  for (size_t rank = 1; rank < servers.size(); ++rank) {
    servers[rank].hello = hellos[rank];
    threads_.emplace_back(
        [this, rank] { served_[rank] = ServeRank(servers[rank]); });
  }
  ranks.emplace(options);
}

int Job::trainings() const {
  int all = 0;
  for (size_t rank = 1; rank < engines.size(); ++rank) {
    all += engines[rank].trainings;
  }
  return all;
}

std::vector<absl::Status> Job::Served() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return {served_.begin() + 1, served_.end()};
}

}  // namespace edgetune::testing
