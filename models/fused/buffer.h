#ifndef EDGETUNE_MODELS_FUSED_BUFFER_H_
#define EDGETUNE_MODELS_FUSED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "models/fused/kernels.h"

namespace edgetune::fused {

// Room for numbers, aligned to cache lines, that only grows. What it holds is
// lost when it grows, and not initialised. Owned by one object, moved, never
// copied.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) { Reserve(count); }

  // At least `count` elements from now on.
  void Reserve(size_t count) {
    if (count <= count_) return;
    data_.reset();
    count_ = 0;  // should there be no memory
    const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
    count_ = count;
  }
  T* data() const { return data_.get(); }
  size_t size() const { return count_; }

  // The first rows * width elements as a matrix, which must be there.
  Rows<T> As(size_t rows, size_t width) const {
    return {data_.get(), rows, width, width};
  }
  // As, with the room for it made first.
  Rows<T> Make(size_t rows, size_t width) {
    Reserve(rows * width);
    return As(rows, width);
  }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T, Free> data_;
  size_t count_ = 0;
};

// Parts of a matrix.
template <typename T>
Rows<T> RowRange(const Rows<T>& m, size_t begin, size_t end) {
  return {m.data + begin * m.stride, end - begin, m.width, m.stride};
}
template <typename T>
Rows<T> ColumnRange(const Rows<T>& m, size_t begin, size_t width) {
  return {m.data + begin, m.rows, width, m.stride};
}
template <typename T>
Rows<const T> Const(const Rows<T>& m) {
  return {m.data, m.rows, m.width, m.stride};
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_BUFFER_H_
