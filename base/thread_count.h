#ifndef EDGETUNE_BASE_THREAD_COUNT_H_
#define EDGETUNE_BASE_THREAD_COUNT_H_

namespace edgetune {

// Threads to compute with: `asked`; when that is 0, OMP_NUM_THREADS, which
// people set for every program that computes (a positive number; anything else
// is as if it were not there); without it, the cores that this process may use.
int ThreadCount(int asked);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_THREAD_COUNT_H_
