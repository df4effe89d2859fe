// When a process is one of several, by what its starter left in its
// environment, and what is told where the library of MPI is not there.

#include "simulations/mpi/post_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

bool StartedWith(const Variables& variables) {
  for (const char* name :
       {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
        "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    unsetenv(name);
  }
  for (const auto& [name, value] : variables) {
    setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
  }
  return StartedByMpi();
}

TEST(PostLoaderTest, SeveralProcessesAreKnownByTheirStarter) {
  EXPECT_TRUE(StartedWith({{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"PMIX_RANK", "1"}}));
  EXPECT_TRUE(StartedWith({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}));
  EXPECT_TRUE(StartedWith({{"PMI_RANK", "0"}, {"PMI_SIZE", "12"}}));
  EXPECT_TRUE(StartedWith({{"PMIX_RANK", "0"}}));  // of how many, MPI knows
}

TEST(PostLoaderTest, OneProcessNeedsNoMpi) {
  EXPECT_FALSE(StartedWith({}));
  // A job's own script, without srun.
  EXPECT_FALSE(StartedWith({{"SLURM_STEP_NUM_TASKS", "4"}}));
  EXPECT_FALSE(StartedWith(
      {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}));
  EXPECT_FALSE(
      StartedWith({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}));
  EXPECT_FALSE(StartedWith({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}));
}

// mpirun starts its own helpers with srun, one a machine.
TEST(PostLoaderTest, MpirunKnowsBetterThanSlurm) {
  EXPECT_TRUE(StartedWith({{"OMPI_COMM_WORLD_RANK", "0"},
                           {"OMPI_COMM_WORLD_SIZE", "4"},
                           {"SLURM_STEP_NUM_TASKS", "1"}}));
}

TEST(PostLoaderTest, ALibraryThatIsNotThereIsToldWithWhatToDo) {
  const testing::ScratchDirectory folder;
  setenv("EDGETUNE_ENGINE_DIR", folder.path().c_str(), /*overwrite=*/1);
  const absl::Status status = JoinPost().status();
  unsetenv("EDGETUNE_ENGINE_DIR");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(folder.path() + "/libedgetune_mpi.so"));
  EXPECT_THAT(HintOf(status), HasSubstr("libopenmpi-dev"));
}

}  // namespace
}  // namespace edgetune
