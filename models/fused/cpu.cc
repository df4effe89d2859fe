#include "models/fused/cpu.h"

#include <oneapi/dnnl/dnnl.hpp>

namespace edgetune::fused {

namespace {

bool Has(dnnl::cpu_isa isa) {
  const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto wanted = static_cast<unsigned>(isa);
  return (has & wanted) == wanted;
}

}  // namespace

bool CpuMultipliesBf16() { return Has(dnnl::cpu_isa::avx512_core_bf16); }

bool CpuHasTiles() { return Has(dnnl::cpu_isa::avx512_core_amx); }

bool CpuCanMultiplyBf16() { return Has(dnnl::cpu_isa::avx512_core); }

bool CpuMultipliesInt8() {
  return Has(dnnl::cpu_isa::avx512_core_vnni) || Has(dnnl::cpu_isa::avx2_vnni);
}

}  // namespace edgetune::fused
