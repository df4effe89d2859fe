#ifndef EDGETUNE_MODELS_FUSED_PARALLEL_H_
#define EDGETUNE_MODELS_FUSED_PARALLEL_H_

// The engine's threads: OpenMP's, since oneDNN runs on them too. How many
// there are is set for the calling thread by UseThreads.

#include <omp.h>

#include <algorithm>
#include <cstddef>

namespace edgetune::fused {

// The number of threads that products and loops started from this thread use.
inline void UseThreads(int threads) { omp_set_num_threads(threads); }

// Rows of a loop that are worth a thread of their own.
inline constexpr size_t kFewestRows = 16;

// work(begin, end) for consecutive parts of [0, rows), each on its own thread.
template <typename Work>
void ForRows(size_t rows, const Work& work) {
  const size_t most = (rows + kFewestRows - 1) / kFewestRows;
  const int threads = static_cast<int>(
      std::min<size_t>(static_cast<size_t>(omp_get_max_threads()), most));
  if (threads <= 1) {
    if (rows > 0) work(size_t{0}, rows);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const size_t n = static_cast<size_t>(omp_get_num_threads());
    const size_t i = static_cast<size_t>(omp_get_thread_num());
    const size_t begin = rows * i / n, end = rows * (i + 1) / n;
    if (begin < end) work(begin, end);
  }
}

// work(begin, end) for parts of [0, rows) of `block` rows, one after the other.
template <typename Work>
void ForBlocks(size_t rows, size_t block, const Work& work) {
  for (size_t begin = 0; begin < rows; begin += block) {
    work(begin, std::min(begin + block, rows));
  }
}

// work(task, thread) for every task, each on one thread; products inside stay
// on it. Which thread takes which task is fixed, so that sums that a thread
// collects are always the same.
template <typename Work>
void ForTasks(size_t tasks, const Work& work) {
  const int threads = static_cast<int>(std::min<size_t>(
      static_cast<size_t>(omp_get_max_threads()), std::max<size_t>(tasks, 1)));
#pragma omp parallel num_threads(threads)
  {
    const size_t n = static_cast<size_t>(omp_get_num_threads());
    const size_t thread = static_cast<size_t>(omp_get_thread_num());
    omp_set_num_threads(1);  // for this region alone
    for (size_t task = thread; task < tasks; task += n) work(task, thread);
  }
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_PARALLEL_H_
