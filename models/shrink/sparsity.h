#ifndef EDGETUNE_MODELS_SHRINK_SPARSITY_H_
#define EDGETUNE_MODELS_SHRINK_SPARSITY_H_

// Which single weights become zero, and what storing the rest would take.
// Pure functions, thread-safe.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace edgetune {

// Of every `of` weights of a row that stand beside each other, `kept` stay
// (Mishra et al. 2021, arXiv 2104.08378: 2:4).
struct NOfM {
  int64_t kept = 0, of = 0;
};

// Where weights compete: the smallest of all linears, of each matrix, or of
// each row, that is of each output (what Sun et al. 2023, arXiv 2306.11695,
// find best for language models).
enum class SparseScope { kModel, kMatrix, kRow };

// One of the two is set.
struct Sparsity {
  // In (0, 1): of n weights that compete, floor(share * n) become zero.
  std::optional<double> share = {};
  SparseScope scope = SparseScope::kMatrix;
  std::optional<NOfM> pattern = {};
};

// InvalidArgument (kUsage): neither or both, a share outside (0, 1), a pattern
// that keeps none or all, or of more than 256.
absl::Status CheckSparsity(const Sparsity& sparsity);

// "2:4". InvalidArgument (kUsage): anything else than two numbers.
absl::StatusOr<NOfM> ParseNOfM(std::string_view text);

// How many of `values` that compete become zero.
uint64_t ZeroedBy(double share, uint64_t values);

// Bytes of `values` weights (a multiple of pattern.of) of `value_bits` each,
// where of each group those that stay are stored with their places in it:
// ceil(log2 of) bits each, so 2 for 2:4.
uint64_t PatternBytes(uint64_t values, const NOfM& pattern,
                      uint64_t value_bits);
// Of `values` weights of which `kept` stay: one bit each that says which, then
// those that stay.
uint64_t BitmapBytes(uint64_t values, uint64_t kept, uint64_t value_bits);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_SPARSITY_H_
