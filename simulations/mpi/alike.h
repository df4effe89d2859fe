#ifndef EDGETUNE_SIMULATIONS_MPI_ALIKE_H_
#define EDGETUNE_SIMULATIONS_MPI_ALIKE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "simulations/mpi/wire.h"

namespace edgetune {

// Whether rank `rank`, which says `other` of itself, can do rank 0's work to
// the same bits. Why it cannot work at all (kind and hint of that);
// FailedPrecondition naming rank, host and what differs: program (kFailed),
// base model (kModel), run file (kConfig), engine or its precision (kConfig).
absl::Status CheckAlike(const Hello& own, const Hello& other, int rank);

// What can be said of this process without a run. Errors of reading its file.
absl::StatusOr<std::string> ProgramDigest();
// As the kernel names it, of the first core; "" where it does not.
std::string ProcessorName();
// `cpuinfo` as /proc/cpuinfo has it.
std::string ProcessorIn(std::string_view cpuinfo);
// How many devices compute at once where nothing else is said: one for each
// core, of the machine's divided by `neighbours`, that this rank may use.
size_t WorkersBeside(int neighbours);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_ALIKE_H_
