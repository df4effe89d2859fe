#ifndef EDGETUNE_MODELS_SHRINK_WEIGHT_READER_H_
#define EDGETUNE_MODELS_SHRINK_WEIGHT_READER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "models/io/tensor_source.h"

namespace edgetune {

// Called now and then with values read and to be read in all; what is not OK
// ends the work and is returned.
using ReadProgress = std::function<absl::Status(uint64_t done, uint64_t total)>;

// Tensors read from one end to the other, with a few rows in memory and
// progress over all of them. `source` outlives it. One thread.
class WeightReader {
 public:
  // `total`: values that all calls of Read will see.
  WeightReader(const TensorSource& source, uint64_t total,
               ReadProgress progress);

  // nullptr: there is no such tensor.
  const TensorInfo* Find(const std::string& name) const;

  // Every row of a tensor in order; a vector is one row. InvalidArgument: no
  // such tensor. Errors of the source and of the progress.
  absl::Status Read(
      const std::string& name,
      const std::function<void(int64_t row, std::span<const float>)>& visit);

 private:
  const TensorSource& source_;
  const uint64_t total_;
  const ReadProgress progress_;
  std::unordered_map<std::string, const TensorInfo*> tensors_;
  std::vector<float> values_;
  uint64_t done_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_WEIGHT_READER_H_
