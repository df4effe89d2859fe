#include "training/engine_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

absl::Status LoadFrom(const std::string& directory) {
  setenv("EDGETUNE_ENGINE_DIR", directory.c_str(), /*overwrite=*/1);
  const auto engine = LoadEngine("reference");
  unsetenv("EDGETUNE_ENGINE_DIR");
  return engine.status();
}

void ExpectRefusal(const absl::Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  EXPECT_NE(HintOf(status), "");
}

const std::string kFakes = std::string(EDGETUNE_BINARY_DIR) + "/tests/";

TEST(EngineLoaderTest, SaysWhereNoEngineIs) {
  const testing::ScratchDirectory folder;
  const std::string nowhere = folder.File("nowhere");
  ExpectRefusal(LoadFrom(nowhere), nowhere + "/libedgetune_torch.so");
}

TEST(EngineLoaderTest, RefusesAFileThatIsNoLibrary) {
  const testing::ScratchDirectory folder;
  std::ofstream(folder.File("libedgetune_torch.so")) << "not ELF";
  ExpectRefusal(LoadFrom(folder.path()), "cannot open the engine");
}

TEST(EngineLoaderTest, RefusesALibraryWithoutTheFactory) {
  ExpectRefusal(LoadFrom(kFakes + "no_factory"), "does not export");
}

TEST(EngineLoaderTest, RefusesAnEngineOfAnotherBuild) {
  ExpectRefusal(LoadFrom(kFakes + "other_build"), "is of another build");
}

TEST(EngineLoaderTest, RefusesAnotherWord) {
  const auto engine = LoadEngine("gpu");
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("\"gpu\""));
}

}  // namespace
}  // namespace edgetune
