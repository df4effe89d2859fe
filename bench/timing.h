#ifndef EDGETUNE_BENCH_TIMING_H_
#define EDGETUNE_BENCH_TIMING_H_

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"

namespace edgetune::bench {

// Seconds since some moment.
inline double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline double ClockSeconds(clockid_t clock) {
  timespec now{};
  EDGETUNE_CHECK(clock_gettime(clock, &now) == 0);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) * 1e-9;
}
// Of a processor, that this thread took, or all threads of the program.
inline double ThreadSeconds() { return ClockSeconds(CLOCK_THREAD_CPUTIME_ID); }
inline double ProcessSeconds() {
  return ClockSeconds(CLOCK_PROCESS_CPUTIME_ID);
}

// Not empty; of an even number the upper one of the middle.
inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds of the quickest of up to `runs` after one that warms up; none begins
// after `longest` seconds.
template <typename Work>
double Quickest(int runs, double longest, const Work& work) {
  work();
  double best = 1e9;
  const double end = Now() + longest;
  for (int run = 0; run < runs && Now() < end; ++run) {
    const double start = Now();
    work();
    best = std::min(best, Now() - start);
  }
  return best;
}

#ifdef _OPENMP
// GB per second of reading so many bytes by OpenMP's threads. A line of memory
// at a time, each number summed on its own: one sum would be bound by additions
// that wait for each other.
inline double ReadRate(size_t size) {
  constexpr size_t kLine = 8;
  const std::vector<uint64_t> numbers(size / sizeof(uint64_t), 1);
  const auto lines = static_cast<int64_t>(numbers.size() / kLine);
  std::atomic<uint64_t> sum = 0;
  const double seconds = Quickest(20, 4, [&] {
#pragma omp parallel
    {
      uint64_t part[kLine] = {};
#pragma omp for schedule(static)
      for (int64_t line = 0; line < lines; ++line) {
        const uint64_t* at =
            numbers.data() + line * static_cast<int64_t>(kLine);
        for (size_t k = 0; k < kLine; ++k) part[k] += at[k];
      }
      for (const uint64_t one : part) sum += one;
    }
  });
  // The sum is looked at, so that it is not left out.
  return sum == 0 ? 0 : static_cast<double>(size) / seconds / 1e9;
}
#endif

}  // namespace edgetune::bench

#endif  // EDGETUNE_BENCH_TIMING_H_
