#include "base/thread_count.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "absl/strings/numbers.h"

namespace edgetune {

int ThreadCount(int asked) {
  if (asked > 0) return asked;
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  int threads = 0;
  if (wanted != nullptr && absl::SimpleAtoi(wanted, &threads) && threads > 0) {
    return threads;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace edgetune
