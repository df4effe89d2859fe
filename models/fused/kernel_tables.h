#ifndef EDGETUNE_MODELS_FUSED_KERNEL_TABLES_H_
#define EDGETUNE_MODELS_FUSED_KERNEL_TABLES_H_

// The kernels of kernels.h and int8_kernels.h for one T and one instruction
// set, a table a source file. Highway picks functions by name and a template
// has none it could use, so what it picks is the function that fills the table.
//
// Inside HWY_NAMESPACE the kernels use no templates of the standard library:
// their instances would be built for that instruction set, and the linker may
// hand them to every other file.

#include <type_traits>

#include "models/fused/int8_kernels.h"
#include "models/fused/kernels.h"

namespace edgetune::fused {

template <typename T>
struct RowKernels {
  decltype(&Convert<T>) convert;
  decltype(&AddLowRank<T, float>) add_low_rank_to_float;
  decltype(&AddLowRank<T, T>) add_low_rank;
  decltype(&RowDots<T>) row_dots;
  decltype(&RmsNorm<T>) rms_norm;
  decltype(&AddRmsNormGradient<T>) add_rms_norm_gradient;
};

template <typename T>
struct ActivationKernels {
  decltype(&Rotate<T>) rotate;
  decltype(&SwiGlu<T>) swi_glu;
  decltype(&SwiGluGradient<T>) swi_glu_gradient;
};

template <typename T>
struct SoftmaxKernels {
  // The last pointer is to scratch memory for one row.
  void (*causal_softmax)(const Rows<const float>&, size_t, float,
                         const Rows<T>&, float*, float*);
  decltype(&CausalSoftmaxGradient<T>) causal_softmax_gradient;
  decltype(&AddSoftmaxColumns<T>) add_softmax_columns;
};

template <typename T>
struct Int8Kernels {
  decltype(&QuantiseRows<T>) quantise_rows;
  decltype(&ScaleSums<T>) scale_sums;
};

// What the one or the other gives.
template <typename T, typename Floats, typename BFloat16s>
auto TableOf(Floats floats, BFloat16s bfloat16s) {
  if constexpr (std::is_same_v<T, float>) {
    return floats();
  } else {
    return bfloat16s();
  }
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_KERNEL_TABLES_H_
