#ifndef EDGETUNE_MODELS_FUSED_FROZEN_MATRIX_H_
#define EDGETUNE_MODELS_FUSED_FROZEN_MATRIX_H_

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/fused/block_kernels.h"
#include "models/fused/buffer.h"
#include "models/fused/int8_product.h"
#include "models/io/model_file.h"

namespace edgetune::fused {

// A matrix [rows, width] of frozen weights: one or more tensors of a model, one
// below the other. They are used where they lie in the mapped file, or a copy
// of them is. Immutable, moved; what was mapped must outlive it. Thread-safe.
class FrozenMatrix {
 public:
  FrozenMatrix() = default;

  // The tensors of these names, of one width, where the file has them.
  // InvalidArgument: one is not there, or not mapped.
  static absl::StatusOr<FrozenMatrix> Map(const ModelFile& file,
                                          std::span<const std::string> names);

  // The same in memory of its own, as `type`, kF32 or kBF16.
  FrozenMatrix Copy(BlockType type) const;
  // The same with 8 bits a weight beside what is mapped, for Int8Workspace.
  FrozenMatrix Quantise() const;

  size_t rows() const { return rows_; }
  size_t width() const { return width_; }
  size_t stored_bytes() const;
  bool has_kernels() const;  // for every type in it
  const std::optional<Int8Matrix>& int8() const { return int8_; }

  // Rows [begin, end) as T: where they are when they are stored so, else
  // de-quantised into `scratch` by the engine's threads.
  template <typename T>
  Rows<const T> Read(size_t begin, size_t end, Buffer<T>& scratch) const;
  // One row [width], rounded as T rounds it.
  template <typename T>
  void ReadRow(size_t row, float* out) const;

  // y [rows] = W x; sums in float32, by the engine's threads.
  void Dot(const DotVector& x, float* y) const;

 private:
  // work(part, begin, end, first) for the rows [begin, end) of each part that
  // lie in rows [from, to) of the whole; `first` is begin's place there.
  template <typename Work>
  void ForParts(size_t from, size_t to, const Work& work) const;

  std::vector<StoredRows> parts_;
  size_t rows_ = 0, width_ = 0;
  Buffer<uint8_t> own_;
  std::optional<Int8Matrix> int8_;
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_FROZEN_MATRIX_H_
