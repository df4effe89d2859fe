#include "models/fused/frozen_products.h"

#include "models/fused/parallel.h"

namespace edgetune::fused {

template <typename T>
template <typename C>
void FrozenProducts<T>::ForwardRow(const T* x, const FrozenMatrix& w, C* y,
                                   const ProductOptions& options) {
  in_.Reserve(w.width());
  out_.Reserve(w.rows());
  Widen(x, w.width(), in_.data());
  vector_.Set(in_.data(), w.width());
  w.Dot(vector_, out_.data());
  for (size_t i = 0; i < w.rows(); ++i) {
    float sum = out_.data()[i];
    if (options.bias != nullptr) sum += options.bias[i];
    if (options.add) sum += ToFloat(y[i]);
    y[i] = FromFloat<C>(sum);
  }
}

template <typename T>
template <typename C>
void FrozenProducts<T>::Forward(const Rows<const T>& x, const FrozenMatrix& w,
                                const Rows<C>& y, size_t block,
                                const ProductOptions& options) {
  if (x.rows == 1) return ForwardRow(x.data, w, y.data, options);
  if (w.int8()) {
    return ForBlocks(x.rows, block, [&](size_t begin, size_t end) {
      int8_.Forward(RowRange(x, begin, end), *w.int8(), options.bias,
                    options.add, RowRange(y, begin, end));
    });
  }
  const auto whole = w.Read(0, w.rows(), whole_);
  ForBlocks(x.rows, block, [&](size_t begin, size_t end) {
    Multiply(Form::kABt, RowRange(x, begin, end), whole,
             RowRange(y, begin, end), options);
  });
}

template <typename T>
template <typename C>
void FrozenProducts<T>::Backward(const Rows<const T>& dy, const FrozenMatrix& w,
                                 const Rows<C>& dx) {
  if (w.int8()) return int8_.Backward(dy, *w.int8(), dx);
  Multiply(Form::kAB, dy, w.Read(0, w.rows(), whole_), dx);
}

template class FrozenProducts<float>;
template class FrozenProducts<BFloat16>;
template void FrozenProducts<float>::Forward(const Rows<const float>&,
                                             const FrozenMatrix&,
                                             const Rows<float>&, size_t,
                                             const ProductOptions&);
template void FrozenProducts<BFloat16>::Forward(const Rows<const BFloat16>&,
                                                const FrozenMatrix&,
                                                const Rows<BFloat16>&, size_t,
                                                const ProductOptions&);
template void FrozenProducts<BFloat16>::Forward(const Rows<const BFloat16>&,
                                                const FrozenMatrix&,
                                                const Rows<float>&, size_t,
                                                const ProductOptions&);
template void FrozenProducts<float>::Backward(const Rows<const float>&,
                                              const FrozenMatrix&,
                                              const Rows<float>&);
template void FrozenProducts<BFloat16>::Backward(const Rows<const BFloat16>&,
                                                 const FrozenMatrix&,
                                                 const Rows<BFloat16>&);
template void FrozenProducts<BFloat16>::Backward(const Rows<const BFloat16>&,
                                                 const FrozenMatrix&,
                                                 const Rows<float>&);

}  // namespace edgetune::fused
