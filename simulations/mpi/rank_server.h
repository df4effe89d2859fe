#ifndef EDGETUNE_SIMULATIONS_MPI_RANK_SERVER_H_
#define EDGETUNE_SIMULATIONS_MPI_RANK_SERVER_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"
#include "simulations/mpi/post.h"
#include "simulations/mpi/wire.h"
#include "training/engine_loader.h"
#include "training/trainer.h"

namespace edgetune {

struct RankServerOptions {
  Post* post = nullptr;
  // Null where hello.ready is an error: no work comes then.
  Engine* engine = nullptr;
  std::shared_ptr<const ModelFile> model;
  Adapter adapter;  // specification and layout of those that it works on
  Hello hello;      // its workers, too
  // By the user. Rank 0 was told so as well, and says what to stop: work that
  // ended early before rank 0 knew would look like a device's failure.
  const StopToken* interrupted = nullptr;
  // Rank 0 counts as gone after this silence,
  absl::Duration silence = absl::Seconds(30);
  // this, if it never said anything,
  absl::Duration first_word = absl::Minutes(10);
  // and this once the user has interrupted.
  absl::Duration last_word = absl::Seconds(5);
};

// What a rank does that is not rank 0: says what it is, does what rank 0 calls
// for, as many calls at once as it has workers, until rank 0 ends it; then
// leaves the job. Talks to the post on the calling thread. Unavailable
// (kFailed): rank 0 is gone; InvalidArgument: it says nonsense. The job has to
// be aborted then.
absl::Status ServeRank(RankServerOptions options);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_RANK_SERVER_H_
