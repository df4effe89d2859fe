#ifndef EDGETUNE_MODELS_IO_TENSOR_SOURCE_H_
#define EDGETUNE_MODELS_IO_TENSOR_SOURCE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/io/stored_rows.h"

namespace edgetune {

struct TensorInfo {
  std::string name;            // Hugging Face name
  std::vector<int64_t> shape;  // row-major
  std::string type;            // "F32", "Q4_1", ...
  uint64_t bytes = 0;          // on disk

  int64_t rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  int64_t columns() const { return shape.back(); }
};

// The tensors of a model, row by row, so that nobody needs a whole one in
// memory: a file, or a file with something done to it (an adapter merged in).
// Names and row order are Hugging Face's. Immutable, thread-safe.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual const std::vector<TensorInfo>& tensors() const = 0;

  // Rows [row_begin, row_end) of a tensor (a vector is one row) as float32 in
  // out, which has exactly (row_end - row_begin) * columns elements.
  // InvalidArgument: no such tensor or a range outside it.
  virtual absl::Status ReadRows(const std::string& name, int64_t row_begin,
                                int64_t row_end,
                                std::span<float> out) const = 0;

  // Where the same lies in a file that is mapped for as long as this lives;
  // nothing where there is no such file, or no such tensor.
  virtual std::optional<StoredRows> Stored(const std::string& name) const {
    return std::nullopt;
  }

  // A hint that this tensor is not read again soon: what was mapped of it
  // need not stay resident. Reading it again is fine.
  virtual void Release(const std::string& name) const = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TENSOR_SOURCE_H_
