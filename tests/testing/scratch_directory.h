#ifndef EDGETUNE_TESTS_TESTING_SCRATCH_DIRECTORY_H_
#define EDGETUNE_TESTS_TESTING_SCRATCH_DIRECTORY_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace edgetune::testing {

// A new directory for one test, removed with all it holds. Programs running
// side by side never meet in it.
class ScratchDirectory {
 public:
  ScratchDirectory()
      : path_(std::filesystem::path(::testing::TempDir()) /
              "edgetune_test_XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << path_;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_SCRATCH_DIRECTORY_H_
