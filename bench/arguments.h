#ifndef EDGETUNE_BENCH_ARGUMENTS_H_
#define EDGETUNE_BENCH_ARGUMENTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/engine_loader.h"

namespace edgetune::bench {

// A command line of words and `--name value` pairs.
struct Arguments {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  const std::string& Text(const std::string& name) const {
    return options.at(name);
  }
  // 0 for what is no number.
  int64_t Number(const std::string& name) const;
  // Of the options precision ("auto", "fp32", "bf16", "int8"), threads, weights
  // and recompute.
  EngineOptions EngineChoice() const;
};

// `defaults` names every option. InvalidArgument: another option, one without
// a value, no precision, or not `words` words.
absl::StatusOr<Arguments> ParseArguments(
    int argc, char** argv, size_t words,
    std::map<std::string, std::string> defaults);

// What main returns; says on stderr what went wrong with `program`.
int ExitCodeOf(const char* program, const absl::Status& status);

// In MB of 10^6 bytes.
inline double Megabytes(uint64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

}  // namespace edgetune::bench

#endif  // EDGETUNE_BENCH_ARGUMENTS_H_
