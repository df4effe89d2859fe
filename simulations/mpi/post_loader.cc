#include "simulations/mpi/post_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "base/own_library.h"
#include "base/status.h"

namespace edgetune {
namespace {

// Open MPI's mpirun, and srun --mpi=pmix and --mpi=pmi2: who this process is,
constexpr const char* kRanks[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK",
                                  "PMI_RANK"};
// and of how many. mpirun starts helpers of its own with srun, so the first
// that is there counts.
constexpr const char* kSizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                  "SLURM_STEP_NUM_TASKS"};

bool IsSet(const char* name) { return std::getenv(name) != nullptr; }

OwnLibrary Library() {
  return {.what = "MPI library",
          .file = "libedgetune_mpi.so",
          .entry = "edgetune_post",
          .if_missing =
              "build edgetune where Debian's libopenmpi-dev is "
              "installed (EDGETUNE_MPI=ON), or start it without "
              "mpirun",
          .if_unopened = "install Debian's openmpi-bin"};
}

}  // namespace

bool StartedByMpi() {
  if (!std::ranges::any_of(kRanks, IsSet)) return false;
  const auto size = std::ranges::find_if(kSizes, IsSet);
  return size == std::end(kSizes) || std::strcmp(std::getenv(*size), "1") != 0;
}

absl::StatusOr<Post*> JoinPost() {
  const OwnLibrary library = Library();
  EDGETUNE_ASSIGN_OR_RETURN(void* const entry, OpenOwnLibrary(library));
  const char* error = "";
  Post* post =
      reinterpret_cast<EdgetunePostFn*>(entry)(EDGETUNE_POST_BUILD_ID, &error);
  if (post != nullptr) return post;
  if (std::strcmp(error, "build") == 0) {
    return OfAnotherBuild(library, EDGETUNE_POST_BUILD_ID);
  }
  return Annotate(absl::FailedPreconditionError(
                      fmt::format("cannot join the job of MPI: {}", error)),
                  ErrorKind::kFailed);
}

}  // namespace edgetune
