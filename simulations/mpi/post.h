#ifndef EDGETUNE_SIMULATIONS_MPI_POST_H_
#define EDGETUNE_SIMULATIONS_MPI_POST_H_

// Standard types only: what implements it stands in a shared object of its own
// (mpi_post.cc), so that no program needs MPI to start.

#include <optional>
#include <string>

namespace edgetune {

// Letters between the ranks of one job. From one rank to another they arrive
// whole and in the order of Send. Nothing here waits but Leave.
//
// Life: made when the job is joined, then Send and Receive, at the end Leave or
// Abort, or neither where something else ends the job. Calls from one thread at
// a time, whichever; Leave from the one that made it.
class Post {
 public:
  struct Letter {
    int from = 0;
    std::string bytes;
  };
  virtual ~Post() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;        // ranks of the job
  virtual int neighbours() const = 0;  // of them on this machine, itself too
  virtual std::string host() const = 0;

  virtual void Send(int to, std::string bytes) = 0;
  // The next letter that is here whole. Lets all transfers go on a little.
  virtual std::optional<Letter> Receive() = 0;
  // A transfer has begun and not ended: Receive wants to be called again soon.
  virtual bool busy() const = 0;
  // What the library said when something failed, "" if nothing has.
  virtual std::string fault() const = 0;

  // Waits until every rank is here.
  virtual void Leave() = 0;
  // Ends every rank at once, this one too.
  [[noreturn]] virtual void Abort(int exit_code) = 0;
};

}  // namespace edgetune

// The one symbol of libedgetune_mpi.so, "edgetune_post": joins the job that
// started this process. Once a process, and never freed. Null, and why in
// `error`: cannot, or `build_id` is another than its own ("build").
extern "C" {
using EdgetunePostFn = edgetune::Post*(const char* build_id,
                                       const char** error);
}

#endif  // EDGETUNE_SIMULATIONS_MPI_POST_H_
