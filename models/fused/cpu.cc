#include "models/fused/cpu.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <thread>

namespace edgetune::fused {

bool CpuMultipliesBf16() {
  const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (has & wanted) == wanted;
}

int ThreadCount(int asked) {
  if (asked > 0) return asked;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace edgetune::fused
