#ifndef EDGETUNE_BENCH_LORA_H_
#define EDGETUNE_BENCH_LORA_H_

#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"

namespace edgetune::bench {

// The adapter of all benchmarks as training begins with it: rank 8, alpha 16,
// on q, k, v and o (921,600 numbers on SmolLM2-135M). InvalidArgument: the
// model is too small for it.
absl::StatusOr<Adapter> InitialLora(const ModelConfig& model);

}  // namespace edgetune::bench

#endif  // EDGETUNE_BENCH_LORA_H_
