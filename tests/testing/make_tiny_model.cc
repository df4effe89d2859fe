// make_tiny_model OUT.gguf: the checked, seeded two-layer model that process
// tests train (tiny_model.h). Public domain: random numbers.

#include <cstdio>
#include <string>

#include "tests/testing/tiny_model.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_tiny_model OUT.gguf\n");
    return 4;
  }
  const absl::Status status = edgetune::testing::WriteTinyModel(argv[1]);
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
