#ifndef EDGETUNE_BASE_PROCESS_MEMORY_H_
#define EDGETUNE_BASE_PROCESS_MEMORY_H_

#include <cstdint>

namespace edgetune {

// Bytes of this process that are in memory, mapped files included, as the
// kernel counts them: now, and at their highest. 0 where there is no /proc.
// Thread-safe.
uint64_t ResidentBytes();
uint64_t PeakResidentBytes();

}  // namespace edgetune

#endif  // EDGETUNE_BASE_PROCESS_MEMORY_H_
