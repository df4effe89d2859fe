#ifndef EDGETUNE_AGGREGATION_EXACT_SUM_H_
#define EDGETUNE_AGGREGATION_EXACT_SUM_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace edgetune {

// Sums of scaled floats as integers: order, shards and the processor's
// instructions never change a bit. The caller chooses factors under which no
// sum leaves int64 (base/fixed_point). Memory: 8 bytes a coordinate. One
// instance belongs to one thread.
class ExactSum {
 public:
  explicit ExactSum(size_t coordinates) : sums_(coordinates, 0) {}

  // Adds `factor` * value, rounded to the nearest integer (ties to even), to
  // the sum of each coordinate; false, and nothing changes, when some |value|
  // is NaN or beyond `bound`. One pass: an update is read once. As many values
  // as coordinates; |factor| * bound < 2^63.
  bool Add(std::span<const float> values, double factor, double bound);
  // As many coordinates.
  void Merge(const ExactSum& other);

  size_t size() const { return sums_.size(); }
  int64_t at(size_t coordinate) const {
    return static_cast<int64_t>(sums_[coordinate]);
  }

 private:
  // Unsigned: what was added to be looked at is taken away again without a
  // thought of overflow.
  std::vector<uint64_t> sums_;
};

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_EXACT_SUM_H_
