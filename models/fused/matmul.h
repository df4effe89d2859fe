#ifndef EDGETUNE_MODELS_FUSED_MATMUL_H_
#define EDGETUNE_MODELS_FUSED_MATMUL_H_

// Matrix products through oneDNN, which picks AMX, AVX-512 or AVX2 kernels at
// run time and shares the work among OpenMP's threads; inside a parallel region
// (see parallel.h) a product stays on the calling thread.

#include "models/fused/kernels.h"

namespace edgetune::fused {

enum class Form {
  kAB,   // C = A B:    A [M,K], B [K,N]
  kABt,  // C = A B^T:  A [M,K], B [N,K]
  kAtB,  // C = A^T B:  A [K,M], B [K,N]
};

struct ProductOptions {
  bool add = false;             // to what is in C
  const float* bias = nullptr;  // [N], added to every row
};

// C [M,N]. Products of BFloat16 are summed in float32. (T, C) is one of
// (float, float), (BFloat16, BFloat16), (BFloat16, float), (int8_t, int32_t);
// the last is exact only where CpuMultipliesInt8 (cpu.h). Shapes that do not
// belong together are a programmer's error. Kernels are kept for every shape
// that a thread has met. Thread-safe.
template <typename T, typename C>
void Multiply(Form form, const Rows<const T>& a, const Rows<const T>& b,
              const Rows<C>& c, const ProductOptions& options = {});

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_MATMUL_H_
