#ifndef EDGETUNE_SIMULATIONS_MPI_WIRE_H_
#define EDGETUNE_SIMULATIONS_MPI_WIRE_H_

// What ranks say to each other, as bytes: a byte that tells the kind, then the
// fields in their order, numbers as this machine has them. Ranks are one
// program (Hello::program), so there are no versions.
//
// Parsing: InvalidArgument for whatever a rank of this program does not write.
// Pure, thread-safe.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "models/io/chat_template.h"
#include "training/engine_loader.h"
#include "training/trainer.h"

namespace edgetune {

enum class LetterKind : uint8_t {
  kHello,   // to rank 0, the first
  kBeat,    // asks whether the other is there, which says kBeat
  kCall,    // from rank 0: work
  kStop,    // from rank 0: that work need not be finished
  kAnswer,  // to rank 0: what the work gave
  kEnd,     // from rank 0: no more work
  kQuit,    // from rank 0: the same, and do not wait for anybody
  kBye,     // to rank 0: that is here
};
// Of a letter that is only that: kBeat, kEnd, kQuit, kBye.
std::string MakeLetter(LetterKind kind);
absl::StatusOr<LetterKind> LetterKindOf(std::string_view letter);

// What a rank says of itself before there is work.
struct Hello {
  std::string host, processor;
  std::string program;  // a digest of its file
  std::string base;     // digest of the base model
  std::string plan;     // the run's id
  std::string engine;
  bool bf16 = false;  // what precision the engine takes by itself
  uint32_t workers = 0;
  absl::Status ready;  // why it cannot work
};
std::string FormatHello(const Hello& hello);
absl::StatusOr<Hello> ParseHello(std::string_view letter);

// Trainers of equal keys are alike.
using EngineKey = std::tuple<Precision, int, WeightMemory, bool>;
inline EngineKey EngineKeyOf(const EngineOptions& options) {
  return {options.precision, options.threads, options.weights,
          options.recompute};
}

// One call of a Trainer.
struct Call {
  uint64_t id = 0;
  bool train = false;  // else Evaluate
  EngineOptions options;
  bool same_adapter = false;  // as in the call before: no values
  ParameterVector adapter;    // values
  int64_t adapter_rank = 0;   // a device's own; 0: the plan's
  std::vector<LabelledTokens> examples;
  // Of a parsed call: what the examples' images borrow.
  std::vector<std::vector<uint8_t>> pixels;
  TrainConfig config;  // of Train; its correction stands beside it
  ParameterVector correction;
};
std::string FormatCall(const Call& call);
absl::StatusOr<Call> ParseCall(std::string_view letter);

std::string FormatStop(uint64_t id);
absl::StatusOr<uint64_t> ParseStop(std::string_view letter);

struct Answer {
  uint64_t id = 0;
  absl::Status status;
  Evaluation evaluation;
  TrainResult training;  // without its profile
};
std::string FormatAnswer(const Answer& answer);
absl::StatusOr<Answer> ParseAnswer(std::string_view letter);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_MPI_WIRE_H_
