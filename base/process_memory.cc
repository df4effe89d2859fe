#include "base/process_memory.h"

#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace edgetune {
namespace {

uint64_t BytesOf(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    uint64_t kib = 0;
    if (key == name && status >> kib) return kib * 1024;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace

uint64_t ResidentBytes() { return BytesOf("VmRSS:"); }
uint64_t PeakResidentBytes() { return BytesOf("VmHWM:"); }

}  // namespace edgetune
