#ifndef EDGETUNE_PRIVACY_SECAGG_MASKED_VECTOR_H_
#define EDGETUNE_PRIVACY_SECAGG_MASKED_VECTOR_H_

// Updates as integers modulo 2^b, their packing, and the coordinator's sum.
// Every lane of b bits holds floor(value * S + u) in two's complement, u
// uniform in [0, 1), so that the mean of many draws is the value; S is
// MaskedShape::ScaleOf of the lane's bound. n_max such values never leave
// [-2^(b-1), 2^(b-1)), hence a sum of honest inputs cannot wrap. Functions are
// thread-safe as far as their RandomSource is.

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

// Whether n_max values of at most `bound` each, times `scale` and rounded up,
// stay below 2^(bits-1), counted in integers; and a bound is a step or more.
bool FitsRing(const MaskedShape& shape, double bound, double scale);
// InvalidArgument: b other than 16, 20, 24 or 32, a use twice, a bound that is
// not finite and positive, sums that could wrap.
absl::Status CheckShape(const MaskedShape& shape);

// What a client contributes, before masking.
struct PlainInput {
  // Multiplies every coordinate; in (0, 1], and 1 if the shape has no lane for
  // it.
  double weight = 1;
  // One value for each lane of the shape, in [0, bound]; that of kWeight is
  // `weight`.
  std::map<LaneUse, double> lanes = {};
  std::span<const float> coordinates = {};
};

// Lane 0 is 1, lane 1 `canary`; then the lanes and weight * clamp(coordinate,
// +-B). u of the j-th of these is the j-th little-endian 32-bit word of
// `random`, / 2^32.
// InvalidArgument: NaN or Inf (names the coordinate, not the value), sizes or
// lanes other than the shape's, a lane beyond its bound, CheckShape. Internal:
// no randomness.
absl::StatusOr<RingVector> Quantize(const MaskedShape& shape,
                                    const PlainInput& input, uint16_t canary,
                                    RandomSource& random);

// How many coordinates lie beyond the bound and will be clamped.
size_t CountClamped(const MaskedShape& shape,
                    std::span<const float> coordinates);

// Whether bytes have the form of a packed vector of the shape, whatever
// its lanes. InvalidArgument: another length, padding bits set.
absl::Status CheckPacked(const MaskedShape& shape,
                         std::span<const uint8_t> packed);
// The bytes of a vector of the shape's size on the wire, and back: lane j in
// bits [jb, jb + b), bit k in byte k/8, least significant first.
// InvalidArgument: as CheckPacked.
std::string PackLanes(const MaskedShape& shape, const RingVector& vector);
absl::StatusOr<RingVector> UnpackLanes(const MaskedShape& shape,
                                       std::span<const uint8_t> packed);

// A mask to take off the sum: the stream of `key`, added or subtracted.
struct MaskTerm {
  SecretBytes key;
  bool subtract;
};

// Adds (or subtracts) mask streams to `lanes`, in cache-sized tiles of all
// terms at once, over at most `threads` threads. InvalidArgument: a key of
// another length. Internal: OpenSSL failed. `lanes` is of no use then.
absl::Status ApplyMasks(std::span<const MaskTerm> terms, int threads,
                        RingVector& lanes);

// Sum of masked vectors of one session. Life: Add for each survivor, Unmask
// once. Memory: 4 bytes a lane whatever the cohort. One thread.
class MaskedSum {
 public:
  explicit MaskedSum(MaskedShape shape);

  // Adds one packed vector. InvalidArgument: CheckShape, another length,
  // padding bits set, more vectors than n_max; nothing changes then.
  // FailedPrecondition: after Unmask.
  absl::Status Add(std::span<const uint8_t> packed);
  uint32_t count() const { return count_; }

  // Takes the masks off and checks canaries and bounds for `count()` survivors.
  // Every lane but the canaries, as signed integers. DataLoss: a canary is
  // wrong or a lane out of bounds (MASK_MISMATCH). FailedPrecondition: a second
  // time, or nothing was added. ApplyMasks' errors.
  absl::StatusOr<std::vector<int64_t>> Unmask(std::span<const MaskTerm> terms,
                                              uint16_t canary, int threads);

 private:
  const MaskedShape shape_;
  RingVector lanes_;  // empty after Unmask
  uint32_t count_ = 0;
};

// Integer sums (of one session, or several added) as real numbers. `sums` are
// as Unmask gives them.
struct SumResult {
  std::map<LaneUse, double> lanes;
  std::vector<float> coordinates;  // sums of weight * value
};
SumResult DecodeSum(const MaskedShape& shape, std::span<const int64_t> sums);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_MASKED_VECTOR_H_
