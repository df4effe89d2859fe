#ifndef EDGETUNE_SIMULATIONS_MPI_RANKS_H_
#define EDGETUNE_SIMULATIONS_MPI_RANKS_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/parameters.h"
#include "simulations/mpi/outbox.h"
#include "simulations/mpi/post.h"
#include "simulations/mpi/wire.h"
#include "training/trainer.h"

namespace edgetune {

// The other ranks of a job, as rank 0 sees them: what each is, work for them,
// and whether they are still there. A thread of its own talks to the post from
// the first line to End; it asks every rank for a sign of life each second (ten
// times a silence, where that is more often).
//
// Life: make, Gather, Do as often as wished (any thread), End (once they have
// returned). Borrows post and token.
class Ranks {
 public:
  struct Options {
    Post* post;
    const StopToken* interrupted;  // by the user
    // A rank is lost that gave no sign of life for so long,
    absl::Duration silence = absl::Seconds(30);
    // that did not even say what it is,
    absl::Duration first_word = absl::Minutes(10);
    // or, when all were told to stop, does not react: whatever started the job
    // kills all of it soon after one rank has died, and leaves about a second.
    absl::Duration reaction = absl::Milliseconds(300);
  };
  explicit Ranks(Options options);
  ~Ranks();  // as End
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // Waits until every rank has said what it is and compares it with `own`. Why
  // one cannot work (its kind and hint); where one differs (kConfig, kModel);
  // Cancelled: interrupted; Unavailable: one is lost.
  absl::Status Gather(const Hello& own);
  // After Gather: of rank 1 and on.
  const std::vector<Hello>& others() const { return others_; }

  // Has rank `rank` do it; the id is set here. `adapter`, what the call works
  // on, goes with it unless the rank had the same last. A `stop` that is set
  // meanwhile is passed on. What the rank answers; Unavailable: it is lost.
  absl::StatusOr<Answer> Do(int rank, Call call, const ParameterVector& adapter,
                            const StopToken& stop);

  // Set when the user interrupts or a rank is lost: nothing should go on.
  const StopToken& stop() const { return stop_; }

  // Tells the ranks that there is no more work, and leaves the job with them;
  // after an interrupt nobody leaves in order: whatever started the job is
  // ending it, and MPI would wait for it in vain. Unavailable (kFailed): which
  // rank was lost, and then the job has to be aborted: not all can leave.
  absl::Status End();

 private:
  struct Rank {
    std::optional<Hello> hello;
    absl::Time heard;
    bool lost = false, said_bye = false;
    ParameterVector adapter;  // that it had last
  };
  struct Waiting {
    int rank;
    std::optional<absl::StatusOr<Answer>> answer = {};
  };

  void Loop();
  void Handle(const Post::Letter& letter);
  void Beat(absl::Time now);
  void Watch(absl::Time now);
  std::string Silent(const Rank& rank, absl::Time now) const;
  void Lose(int rank, const std::string& why);
  bool AllGone() const;
  bool AllSaidHello() const;

  const Options options_;
  const absl::Duration beat_;
  Outbox outbox_;
  StopToken stop_{false};
  std::vector<Hello> others_;
  std::thread thread_;

  mutable std::mutex mu_;  // guards all below
  std::condition_variable changed_;
  std::vector<Rank> ranks_;  // [0] is unused
  std::map<uint64_t, Waiting*> waiting_;
  uint64_t next_id_ = 1;
  absl::Status status_;
  absl::Time begun_, beaten_, watched_;
  absl::Time interrupted_at_ = absl::InfiniteFuture();
  bool ending_ = false;
  bool in_order_ = true;  // the end
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_RANKS_H_
