#ifndef EDGETUNE_SIMULATIONS_MPI_POST_LOADER_H_
#define EDGETUNE_SIMULATIONS_MPI_POST_LOADER_H_

#include "absl/status/statusor.h"
#include "simulations/mpi/post.h"

namespace edgetune {

// Whether mpirun, or srun with PMI, started this process as one of several, by
// what they put into its environment. Where that does not say of how many: yes.
bool StartedByMpi();

// Opens libedgetune_mpi.so (base/own_library.h) and joins the job, once a
// process; the post stays to its end. FailedPrecondition (kFailed): this
// edgetune was built without MPI, MPI cannot start, or the library is of
// another build.
absl::StatusOr<Post*> JoinPost();

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_POST_LOADER_H_
