#ifndef EDGETUNE_PRIVACY_SECAGG_MASKED_VECTOR_H_
#define EDGETUNE_PRIVACY_SECAGG_MASKED_VECTOR_H_

// Updates as integers modulo 2^b, their packing, and the coordinator's sum.
// Fixed point: secure-aggregation design section 5.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"
#include "protos/masking.h"

namespace edgetune::secagg {

// One lane a 32-bit word, of which the low `bits` count.
using RingVector = std::vector<uint32_t>;

// What a client contributes, before masking.
struct PlainInput {
  double weight = 1;    // multiplies every coordinate; in (0, 1]
  std::map<LaneUse, double> lanes;  // one value for each lane of the shape
  std::span<const float> coordinates;
};

// Canaries, lanes and weight * clamp(coordinate, +-B), each rounded
// stochastically to value * scale with bits from `random`.
// InvalidArgument: NaN or Inf (names the coordinate, not the value), sizes or
// lanes other than the shape's, a lane beyond its bound, a shape whose sums
// could wrap. Internal: no randomness.
absl::StatusOr<RingVector> Quantize(const MaskedShape& shape,
                                    const PlainInput& input,
                                    uint16_t canary, RandomSource& random);

// How many coordinates lie beyond the bound and will be clamped.
size_t CountClamped(const MaskedShape& shape,
                    std::span<const float> coordinates);

// The bytes of a vector on the wire, and back. InvalidArgument: another
// length, padding bits set.
std::string PackLanes(const MaskedShape& shape, const RingVector& vector);

// A mask to take off the sum: the stream of `key`, added or subtracted.
struct MaskTerm {
  SecretBytes key;
  bool subtract;
};

// Adds (or subtracts) mask streams to `lanes`, in cache-sized tiles of all
// terms at once, over `threads` threads. Internal: OpenSSL failed.
absl::Status ApplyMasks(std::span<const MaskTerm> terms, int threads,
                        RingVector& lanes);

// Sum of masked vectors of one session. Memory: 4 bytes a lane whatever the
// cohort. One thread.
class MaskedSum {
 public:
  explicit MaskedSum(const MaskedShape& shape);

  // Adds one packed vector. InvalidArgument: another length, padding bits set;
  // nothing changes then.
  absl::Status Add(std::span<const uint8_t> packed);
  uint32_t count() const { return count_; }

  // Takes the masks off and checks canaries and bounds for `count()` survivors.
  // Every lane but the canaries, as signed integers. Once only. DataLoss: a
  // canary or a lane is out of bounds (MASK_MISMATCH).
  absl::StatusOr<std::vector<int64_t>> Unmask(std::span<const MaskTerm> terms,
                                              uint16_t canary, int threads);

 private:
  const MaskedShape shape_;
  RingVector lanes_;
  uint32_t count_ = 0;
};

// Integer sums (of one session, or several added) as real numbers.
struct SumResult {
  std::map<LaneUse, double> lanes;
  std::vector<float> coordinates;  // sums of weight * value
};
SumResult DecodeSum(const MaskedShape& shape, std::span<const int64_t> sums);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_MASKED_VECTOR_H_
