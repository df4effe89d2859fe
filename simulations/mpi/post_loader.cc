#include "simulations/mpi/post_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/own_library.h"
#include "base/status.h"

namespace edgetune {
namespace {

// Open MPI's mpirun, and srun --mpi=pmix and --mpi=pmi2.
constexpr const char* kSigns[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK",
                                  "PMI_RANK"};

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
  return std::ranges::any_of(
      kSigns, [](const char* sign) { return std::getenv(sign) != nullptr; });
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
