#ifndef EDGETUNE_MODELS_FUSED_CPU_H_
#define EDGETUNE_MODELS_FUSED_CPU_H_

namespace edgetune::fused {

// Whether products of bfloat16 are faster than float32 here: the processor has
// instructions for them that oneDNN uses.
bool CpuMultipliesBf16();
// Whether it multiplies them in tiles (AMX).
bool CpuHasTiles();
// Whether they are possible at all (AVX-512, at least).
bool CpuCanMultiplyBf16();
// Whether oneDNN has exact and fast products of int8 here: those that it has
// for processors without instructions for them saturate.
bool CpuMultipliesInt8();

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_CPU_H_
